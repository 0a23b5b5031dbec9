"""A child for the supervisor's tests: `stub.py NAME PORT FOLDER`; a web server where PORT is not 0.

Writes its number to FOLDER/NAME, what is posted to it to FOLDER/posted, and NAME to FOLDER/ended
when it was asked to end.
"""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"done")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with (Path(sys.argv[3]) / "posted").open("a") as posted:
            posted.write(f"{self.path} {body}\n")
        self.do_GET()

    def log_message(self, *_: object) -> None: ...


def main(name: str, port: int, folder: Path) -> None:
    asked: list[int] = []  # not an Event: its lock may be held when the signal comes
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    server = None
    if port:
        server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        server.daemon_threads = False  # what is being answered is finished
        threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / name).write_text(str(os.getpid()))
    while not asked:
        time.sleep(0.02)
    if server:
        server.shutdown()
        server.server_close()
    with (folder / "ended").open("a") as ended:
        ended.write(f"{name}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
