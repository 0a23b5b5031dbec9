"""Africa's Talking's HTTP door for questions about SIM cards. Source: its Insights, SIM swap."""

from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.messaging import unauthorized
from simulator.msisdn import NotANumber, read
from simulator.sims import Question
from simulator.world import World


def blueprint(world: World) -> Blueprint:
    """The asking path over that world."""
    door = Blueprint("insights", __name__)

    @door.post("/v1/sim-swap")
    def ask() -> Response:
        place = world.place
        body = request.get_json(silent=True)
        if request.headers.get("apiKey") != place.africastalking_api_key:
            return unauthorized()
        if not isinstance(body, dict) or body.get("username") != place.africastalking_username:
            return unauthorized()
        numbers = body.get("phoneNumbers")
        if not isinstance(numbers, list) or not numbers or not all(map(_is_number, numbers)):
            return Response("Invalid phone numbers", 400, mimetype="text/plain")
        asked = [world.sims.ask(number) for number in numbers]
        return jsonify(
            status="Processed",
            transactionId=asked[0].transaction_id,
            responses=[_accepted(each) for each in asked],
        )

    return door


def _accepted(question: Question) -> dict[str, Any]:
    return {
        "phoneNumber": {
            "carrierName": "Safaricom",
            "countryCode": 254,
            "networkCode": "63902",
            "numberType": "Mobile",
            "phoneNumber": question.number,
        },
        "requestId": question.request_id,
        "status": "Queued",
        "cost": {"amount": 0.5, "currencyCode": "KES"},
        **(question.answer or {}),
    }


def _is_number(given: object) -> bool:
    try:
        return isinstance(given, str) and read(given) == given
    except NotANumber:
        return False
