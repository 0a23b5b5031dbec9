"""Africa's Talking's HTTP door for sending SMS. Source: africastalking.md, section 3."""

from flask import Blueprint, Response, jsonify, request

from simulator.sms import ACCEPTED, DEFAULT_SENDER, STATUS_NAMES, Recipient, parts
from simulator.world import World


def blueprint(world: World) -> Blueprint:
    """The sending path over that world."""
    door = Blueprint("messaging", __name__)

    @door.post("/version1/messaging")
    def send() -> Response:
        place = world.place
        form = request.form
        if request.headers.get("apiKey") != place.africastalking_api_key:
            return unauthorized()
        if form.get("username") != place.africastalking_username:
            return unauthorized()
        text, to = form.get("message", ""), form.get("to", "")
        if not text or not to:
            return Response("Request is missing required form field", 400, mimetype="text/plain")
        sender = form.get("from") or DEFAULT_SENDER
        recipients = world.sms.send(sender, to, text, is_queued=form.get("enqueue") == "1")
        sent = sum(each.code in ACCEPTED for each in recipients)
        total = sum(each.cost_cents for each in recipients)
        return answer(
            f"Sent to {sent}/{len(recipients)} Total Cost: KES {_cost(total)} "
            f"Message parts: {parts(text)}",
            recipients,
        )

    return door


def unauthorized() -> Response:
    """What wrong credentials get: plain text, not JSON."""
    return Response(
        "The supplied authentication is invalid", 401, content_type="text/plain; charset=UTF-8"
    )


def answer(message: str, recipients: list[Recipient]) -> Response:
    """201 and the recipient list, with exactly "application/json"."""
    said = jsonify(
        SMSMessageData={
            "Message": message,
            "Recipients": [
                {
                    "number": each.number,
                    "status": STATUS_NAMES.get(each.code, "InternalServerError"),
                    "statusCode": each.code,
                    "cost": f"KES {_cost(each.cost_cents)}" if each.cost_cents else "0",
                    "messageId": each.id or "None",
                }
                for each in recipients
            ],
        }
    )
    said.status_code = 201
    return said


def _cost(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}00"
