"""Web: Flask, without what none of our addresses uses."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Request, Response
from werkzeug.routing import MapAdapter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Web(Flask):
    """Addresses are matched by their path alone; whoever calls another host's name gets no other
    answer, and nobody is sent elsewhere, which would take a name to send them to.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self.url_map.merge_slashes = False
        self.json.sort_keys = False  # type: ignore[attr-defined]

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Werkzeug's own reads the host's name first, in longer than it then takes to match."""
        if request is None:
            return super().create_url_adapter(None)
        return self.url_map.bind(
            "localhost",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
        )


class Screen(Response):
    """A text that is sent as it is: Werkzeug looks through others for what would redirect, stream
    or be cached.
    """

    def __init__(self, text: str, headers: dict[str, str]) -> None:
        super().__init__(text, headers=headers, content_type="text/plain; charset=utf-8")

    def __call__(
        self, _environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        start_response(self.status, self.headers.to_wsgi_list())
        return self.iter_encoded()
