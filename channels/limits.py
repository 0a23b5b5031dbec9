"""Limits: how many hops a minute one phone may make, whichever of our processes answers them.

Counted by phone, never by the address a request comes from: that is the gateway's, everybody's.
"""

import hmac
from collections.abc import Callable
from threading import Lock
from time import monotonic, time

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 60
STORE_SECONDS_MAX = 0.2  # of a hop, for asking the store
AWAY_SECONDS = 5.0  # a store that did not answer is not asked again for so long
# A person makes some ten hops a minute. Up to this part of the limit a process counts by itself, so
# that no honest hop waits for the store.
OWN_PART = 4


class HopLimit:
    """Counts in Redis, together with the other processes; while it is away, each by itself.

    key: keys the hash under which a phone is counted. clock: seconds since 1970, the same for all.
    """

    def __init__(
        self,
        hops_a_minute: int,
        store: "redis.Redis | None",
        *,
        key: bytes,
        clock: Callable[[], float] = time,
    ) -> None:
        assert hops_a_minute > 0, f"{hops_a_minute} hops a minute are no service"
        self._limit = hops_a_minute
        self._own_hops = max(1, hops_a_minute // OWN_PART)
        self._store = store
        self._key = key
        self._clock = clock
        self._lock = Lock()
        self._window = 0
        self._counts: dict[str, int] = {}  # by phone, in this window, in this process
        self._away_until = 0.0  # monotonic

    def admits(self, msisdn: str) -> bool:
        """Count one more hop of this phone; False: it is one too many."""
        window = int(self._clock() // WINDOW_SECONDS)
        with self._lock:
            if window != self._window:
                self._window, self._counts = window, {}
            here = self._counts[msisdn] = self._counts.get(msisdn, 0) + 1
        if here < self._own_hops:
            return True
        # The hop that begins to be counted together brings those before it.
        everywhere = self._count(msisdn, window, here if here == self._own_hops else 1)
        return max(here, everywhere) <= self._limit

    def _count(self, msisdn: str, window: int, hops: int) -> int:
        """All processes' hops of this phone, with these; 0: nobody knows."""
        if self._store is None or monotonic() < self._away_until:
            return 0
        name = f"hops:{hmac.digest(self._key, msisdn.encode(), 'sha256').hex()[:32]}:{window}"
        try:
            with self._store.pipeline(transaction=False) as pipeline:
                pipeline.incrby(name, hops)
                pipeline.expire(name, 2 * WINDOW_SECONDS)
                return int(pipeline.execute()[0])
        except redis.RedisError as error:
            self._away_until = monotonic() + AWAY_SECONDS
            log.warning("limit_store_away", error=type(error).__name__)
            return 0


def connect(redis_url: str | None) -> "redis.Redis | None":
    """The store to count in; it connects when it is first asked."""
    if redis_url is None:
        return None
    return redis.Redis.from_url(
        redis_url,
        socket_connect_timeout=STORE_SECONDS_MAX,
        socket_timeout=STORE_SECONDS_MAX,
        retry=Retry(NoBackoff(), 0),
    )
