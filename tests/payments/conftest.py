"""Daraja at the address of whoever plays it, and a street with M-Pesa in it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from payments.daraja import Account, Daraja
from tests.payments.street import Street
from tests.payments.street import street as open_street
from tests.stores import store, valkey_home

__all__ = ["store", "valkey_home"]


@pytest.fixture
def daraja_at(now: datetime) -> Iterator[Callable[..., Daraja]]:
    """Call it with a base URL, and a Redis if processes shall share the token."""
    made: list[Daraja] = []

    def make(base_url: str, *, redis_url: str | None = None, **other: Any) -> Daraja:
        account = Account(
            base_url=base_url,
            consumer_key="sandbox-consumer-key",
            consumer_secret="sandbox-consumer-secret",
            shortcode="174379",
            passkey="bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919",
            public_base_url="https://sokoni.example",
            b2c_shortcode="600997",
            initiator="sokoni-api",
            initiator_password="Sandbox#Initiator1",
            **{"calls_per_second": 1000, **other},
        )
        made.append(Daraja(account, redis_url=redis_url, clock=lambda: now))
        return made[-1]

    yield make
    for daraja in made:
        daraja.close()


@pytest.fixture
def street(new_database: Callable[[], Any], now: datetime) -> Iterator[Street]:
    with open_street(new_database, now) as made:
        yield made
