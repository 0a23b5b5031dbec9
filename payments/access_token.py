"""The provider's access token: one for all processes, since a new one ends the one before it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic, sleep

import redis
import structlog

from core.errors import Unavailable

log = structlog.get_logger(__name__)

EARLY_SECONDS = 60  # a token is given up this long before its end
LOCK_SECONDS = 15  # longer than any fetch, so that a live holder never loses the lock
WAIT_SECONDS_MAX = 20  # for somebody else's fetch: its lock has run out by then
POLL_SECONDS = 0.05

# Only the holder may give the lock back: it may have run out and be another's by now.
_RELEASE = """
if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0
"""


@dataclass(frozen=True)
class Fetched:
    token: str
    seconds: int  # it lives from now


class SharedToken:
    """Kept in Redis, fetched by one at a time; while Redis is away each process uses its own copy.

    fetch: asks the provider; raises Unavailable. name: tells apart two accounts on one Redis.
    """

    def __init__(
        self, fetch: Callable[[], Fetched], store: "redis.Redis | None", *, name: str
    ) -> None:
        self._fetch = fetch
        self._store = store
        self._token_key = f"{name}:token"
        self._lock_key = f"{name}:lock"
        self._threads = Lock()  # of this process: one of them asks, the others wait for it
        self._copy: str | None = None
        self._copy_until = 0.0  # monotonic

    def get(self) -> str:
        """The token in force. Raises Unavailable: none, and none to be had."""
        try:
            return self._shared() or self._renew(None)
        except redis.RedisError as error:
            return self._without_store(None, error)

    def replace(self, refused: str) -> str:
        """Another token than the one refused: the present one if it has changed, or a new one.

        Raises Unavailable: none to be had.
        """
        try:
            return self._renew(refused)
        except redis.RedisError as error:
            return self._without_store(refused, error)

    def _shared(self) -> str | None:
        if self._store is None:
            return self._fresh_copy(None)
        with self._store.pipeline(transaction=False) as pipeline:
            pipeline.get(self._token_key)
            pipeline.pttl(self._token_key)
            token, milliseconds = pipeline.execute()
        if token is None:
            return None
        self._keep_copy(token, milliseconds / 1000)
        return str(token)

    def _renew(self, refused: str | None) -> str:
        if self._store is None:
            return self._own(refused)
        with self._threads:
            owner = secrets.token_hex(16)
            give_up_at = monotonic() + WAIT_SECONDS_MAX
            while not self._store.set(self._lock_key, owner, nx=True, px=LOCK_SECONDS * 1000):
                token = self._shared()
                if token is not None and token != refused:
                    return token
                if monotonic() >= give_up_at:
                    raise Unavailable("another process has been fetching the token for too long")
                sleep(POLL_SECONDS)
            try:
                token = self._shared()
                if token is not None and token != refused:
                    return token
                token = self._fetch_copy()
                left = int((self._copy_until - monotonic()) * 1000)
                self._store.set(self._token_key, token, px=max(1, left))
                return token
            finally:
                self._store.eval(_RELEASE, 1, self._lock_key, owner)

    def _without_store(self, refused: str | None, error: redis.RedisError) -> str:
        log.warning("token_store_away", error=type(error).__name__)
        return self._own(refused)

    def _own(self, refused: str | None) -> str:
        with self._threads:
            return self._fresh_copy(refused) or self._fetch_copy()

    def _fresh_copy(self, refused: str | None) -> str | None:
        fresh = monotonic() < self._copy_until and self._copy != refused
        return self._copy if fresh else None

    def _fetch_copy(self) -> str:
        fetched = self._fetch()
        # A life of two minutes or less is halved instead: 60 s early would be never.
        life = max(fetched.seconds - EARLY_SECONDS, fetched.seconds / 2)
        self._keep_copy(fetched.token, life)
        return fetched.token

    def _keep_copy(self, token: str, seconds: float) -> None:
        self._copy, self._copy_until = token, monotonic() + seconds
