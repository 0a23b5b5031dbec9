"""The webhook: where Telegram posts its updates, each repeated until it is acknowledged.

Whatever is kept, or can never be used, is acknowledged: one that is refused for ever would hold up
all later messages of its chat for a day.
"""

import hmac
import json

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from channels import admission
from channels.telegram.chat import Desk
from channels.telegram.updates import read
from channels.ussd import Hopper
from core.database import Database
from core.errors import Unavailable
from core.rules import Rules

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 1024 * 1024
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 (a name)
RETRY_SECONDS = 5  # when the database is away


def blueprint(database: Database, hopper: Hopper, rules: Rules, *, secret: str) -> Blueprint:
    """The address given to setWebhook. The secret is in the path (404) and in a header (403)."""
    routes = Blueprint("telegram", __name__, url_prefix="/channels/telegram")
    admission.guard(routes, secret)
    desk = Desk(database, hopper, rules)

    @routes.before_request
    def admit() -> tuple[str, int] | None:
        request.max_content_length = BODY_BYTES_MAX
        given = request.headers.get(SECRET_HEADER, "").encode("utf-8", "replace")
        return None if hmac.compare_digest(given, secret.encode()) else ("", 403)

    @routes.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> tuple[str, int]:
        log.warning("update_unreadable", reason="too large")
        return "", 200

    @routes.errorhandler(Unavailable)
    def not_kept(error: Unavailable) -> tuple[str, int, dict[str, str]]:
        log.error("update_not_kept", reason=type(error).__name__)
        return "", 503, {"Retry-After": str(RETRY_SECONDS)}

    @routes.post("/<secret>")
    def update() -> Response | tuple[str, int]:
        told = read(_body(request.get_data(cache=False)))
        method = None if told is None else desk.take(told)
        return ("", 200) if method is None else jsonify(method)

    return routes


def _body(given: bytes) -> object:
    """The JSON value that was posted; None for anything else."""
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return None
