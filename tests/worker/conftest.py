"""A Valkey of our own."""

from tests.stores import store, valkey_home

__all__ = ["store", "valkey_home"]
