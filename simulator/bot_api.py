"""The Bot API's HTTP door: calls in any form of body, answered in its envelope, and files.

Source: Bot API, "Making requests" and "getFile".
"""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from simulator import parameters
from simulator.bot_methods import Said, perform
from simulator.telegram import Refused
from simulator.world import World

BODY_BYTES_MAX = 50 * 1024 * 1024


def blueprint(world: World) -> Blueprint:
    """The paths under /telegram over that world."""
    door = Blueprint("bot_api", __name__, url_prefix="/telegram")

    @door.route("/bot<token>/<method>", methods=["GET", "POST"])
    def call(token: str, method: str) -> Response:
        request.max_content_length = BODY_BYTES_MAX
        try:
            _let_in(world, token)
            kind, body = request.headers.get("Content-Type", ""), request.get_data()
            given = parameters.read(kind, body, request.args.to_dict())
            return _answer(perform(world.telegram, method, given))
        except parameters.NotReadable as wrong:
            return _refusal(Refused(400, f"Bad Request: {wrong}"))
        except RequestEntityTooLarge:
            return _refusal(Refused(413, "Request Entity Too Large"))
        except Refused as refused:
            return _refusal(refused)

    @door.get("/file/bot<token>/<path:path>")
    def fetch(token: str, path: str) -> Response:
        try:
            _let_in(world, token)
        except Refused as refused:
            return _refusal(refused)
        file = world.telegram.file_at(path)
        if file is None:
            return _refusal(Refused(404, "Not Found"))
        return Response(file.data, content_type="application/octet-stream")

    return door


def _let_in(world: World, token: str) -> None:
    if token != world.place.telegram_token:
        is_one = token.partition(":")[0].isdecimal() and ":" in token
        raise Refused(401, "Unauthorized") if is_one else Refused(404, "Not Found")


def _answer(result: Any) -> Response:
    if isinstance(result, Said):
        return jsonify(ok=True, result=result.result, description=result.description)
    return jsonify(ok=True, result=result)


def _refusal(refused: Refused) -> Response:
    body: dict[str, Any] = {
        "ok": False,
        "error_code": refused.code,
        "description": refused.description,
    }
    if refused.parameters:
        body["parameters"] = refused.parameters
    answer = jsonify(body)
    answer.status_code = refused.code
    if "retry_after" in refused.parameters:
        answer.headers["Retry-After"] = str(refused.parameters["retry_after"])
    return answer
