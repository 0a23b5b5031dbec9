"""Admission: who may speak on a gateway's paths, and how much at once."""

import hmac

from flask import Blueprint, g, request

BODY_BYTES_MAX = 64 * 1024  # what gateways send stays below 8 kB


def guard(routes: Blueprint, secret: str) -> None:
    """Every path of `routes` begins with <secret>, which no view sees; a wrong one is 404, empty.

    Compared in constant time. A body beyond BODY_BYTES_MAX raises RequestEntityTooLarge in the
    view that reads it: how that is answered is the gateway's own.
    """
    expected = secret.encode()

    @routes.url_value_preprocessor
    def take_secret(_endpoint: str | None, values: dict[str, str] | None) -> None:
        g.path_secret = (values or {}).pop("secret", "")

    @routes.before_request
    def admit() -> tuple[str, int] | None:
        request.max_content_length = BODY_BYTES_MAX
        given = g.path_secret.encode("utf-8", "replace")
        return None if hmac.compare_digest(given, expected) else ("", 404)
