"""The pretend world over HTTP: the providers' doors, the JSON calls and the page of phones."""

import logging
import socket
import threading
from http import HTTPStatus
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from simulator import (
    api,
    bot_api,
    daraja,
    daraja_operations,
    gateway,
    insights,
    messaging,
    page,
    telegram_api,
)
from simulator.faults import Faults
from simulator.world import World

BODY_BYTES_MAX = 1_000_000


def create_app(world: World) -> Flask:
    """The WSGI application of that world."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(daraja.blueprint(world))
    app.register_blueprint(daraja_operations.blueprint(world))
    app.register_blueprint(messaging.blueprint(world))
    app.register_blueprint(insights.blueprint(world))
    app.register_blueprint(bot_api.blueprint(world))
    app.register_blueprint(api.blueprint(world))
    app.register_blueprint(telegram_api.blueprint(world))
    app.register_blueprint(page.blueprint(world))

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
        if gateway.is_ours(request.path):
            wrong_method = status == HTTPStatus.METHOD_NOT_ALLOWED
            return gateway.refusal(gateway.NOT_ALLOWED if wrong_method else gateway.NOT_FOUND)
        answer = jsonify(error=error.name.lower())
        answer.status_code = status
        return answer

    app.wsgi_app = Faults(app.wsgi_app, world)  # type: ignore[method-assign]
    return app


def listen(host: str, port: int) -> socket.socket:
    """Take the port (0: a free one) before anything else is touched. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


class Server:
    """The world served on a port, in threads."""

    def __init__(self, world: World, listener: socket.socket) -> None:
        """listener: from `listen`; the server takes it over."""
        self._world = world
        self._host, self._port = listener.getsockname()[:2]
        self._server: BaseWSGIServer = make_server(
            self._host,
            self._port,
            create_app(world),
            threaded=True,
            request_handler=_Quiet,
            fd=listener.fileno(),
        )
        listener.close()  # the server has its own copy
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="simulator",
            daemon=True,
        )

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        if not self._world.clock.is_virtual:
            self._world.start()
        self._thread.start()

    def stop(self) -> None:
        """Take no more calls; those in hand end with the process."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._world.stop()


class _Quiet(WSGIRequestHandler):
    """No line for each request: paths carry phone numbers. A reset connection is let go of."""

    def connection_dropped(
        self,
        error: BaseException,  # noqa: ARG002
        environ: WSGIEnvironment | None = None,  # noqa: ARG002
    ) -> None:
        self.close_connection = True

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        logging.getLogger("simulator.server").log(
            logging.ERROR if type == "error" else logging.INFO, message, *args
        )
