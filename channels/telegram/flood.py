"""Flood: how fast we may write to Telegram, over all and to one chat, whichever process writes.

Counted in Redis, together; while that is away, each process by itself. Losing a count hurts nobody:
who writes too fast is told so by Telegram, and waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Final

import redis
import structlog

log = structlog.get_logger(__name__)

# Telegram takes about 30 messages a second over all, and 1 a second to a chat with short bursts.
ALL_EVERY_SECONDS: Final = 1 / 28
ALL_BURST: Final = 28
CHAT_EVERY_SECONDS: Final = 1.0
CHAT_BURST: Final = 5
BUSY_SECONDS: Final = 0.25  # between two looks whether the chat is free
BUSY_SECONDS_MAX: Final = 12.0  # longer than a call can take
AWAY_SECONDS: Final = 5.0  # a store that did not answer is not asked again for so long

# The generic cell rate algorithm for both buckets, then the chat is taken: all or nothing.
# KEYS: all, chat, busy. ARGV: every, burst (all), every, burst (chat), busy for at most; in ms.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
local wait, full = 0, {}
for i = 1, 2 do
  local every, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local at = math.max(now, tonumber(redis.call('GET', KEYS[i]) or '0'))
  wait = math.max(wait, at - now - (burst - 1) * every)
  full[i] = at + every
end
if wait > 0 then return math.ceil(wait) end
for i = 1, 2 do
  redis.call('SET', KEYS[i], string.format('%.3f', full[i]), 'PX', math.ceil(full[i] - now) + 1000)
end
redis.call('SET', KEYS[3], '1', 'PX', ARGV[5])
return 0
"""
# KEYS: all. ARGV: the bucket's full time from now on, in ms.
_HOLD: Final = """
local clock = redis.call('TIME')
local at = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.3f', at), 'PX', math.ceil(tonumber(ARGV[1])) + 1000)
return 0
"""


class Flood:
    """One for each process. clock: seconds, of this process alone."""

    def __init__(
        self, store: "redis.Redis | None", *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._store = store
        self._take = store.register_script(_TAKE) if store is not None else None
        self._hold = store.register_script(_HOLD) if store is not None else None
        self._clock = clock
        self._away_until = 0.0
        self._own = _Buckets()

    def take(self, chat_id: int) -> float:
        """0: write now, and `leave` afterwards; else look again after so many seconds.

        One message at a time to a chat, so that screens arrive in the order they were made.
        """
        if self._take is not None and self._clock() >= self._away_until:
            try:
                wait = int(
                    self._take(
                        keys=["telegram:all", f"telegram:chat:{chat_id}", _busy(chat_id)],
                        args=[
                            ALL_EVERY_SECONDS * 1000,
                            ALL_BURST,
                            CHAT_EVERY_SECONDS * 1000,
                            CHAT_BURST,
                            int(BUSY_SECONDS_MAX * 1000),
                        ],
                    )
                )
            except redis.RedisError as error:
                self._lost(error)
            else:
                return BUSY_SECONDS if wait < 0 else wait / 1000
        return self._own.take(chat_id, self._clock())

    def leave(self, chat_id: int) -> None:
        """The message to that chat is written, or will not be."""
        self._own.leave(chat_id)
        if self._store is not None and self._clock() >= self._away_until:
            try:
                self._store.delete(_busy(chat_id))
            except redis.RedisError as error:
                self._lost(error)

    def hold(self, seconds: float) -> None:
        """Telegram told us to be silent for so long."""
        self._own.hold(seconds, self._clock())
        if self._hold is not None and self._clock() >= self._away_until:
            full = (seconds + (ALL_BURST - 1) * ALL_EVERY_SECONDS) * 1000
            try:
                self._hold(keys=["telegram:all"], args=[full])
            except redis.RedisError as error:
                self._lost(error)

    def _lost(self, error: redis.RedisError) -> None:
        self._away_until = self._clock() + AWAY_SECONDS
        log.warning("flood_store_away", error=type(error).__name__)


def _busy(chat_id: int) -> str:
    return f"telegram:busy:{chat_id}"


@dataclass
class _Buckets:
    """The same in this process, for as long as nobody counts for all."""

    all_at: float = 0.0
    chats_at: dict[int, float] = field(default_factory=dict)
    busy_until: dict[int, float] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def take(self, chat_id: int, now: float) -> float:
        with self.lock:
            if self.busy_until.get(chat_id, now) > now:
                return BUSY_SECONDS
            self.chats_at = {chat: at for chat, at in self.chats_at.items() if at > now}
            all_at, chat_at = max(now, self.all_at), self.chats_at.get(chat_id, now)
            wait = max(
                all_at - now - (ALL_BURST - 1) * ALL_EVERY_SECONDS,
                chat_at - now - (CHAT_BURST - 1) * CHAT_EVERY_SECONDS,
            )
            if wait > 0:
                return wait
            self.all_at = all_at + ALL_EVERY_SECONDS
            self.chats_at[chat_id] = chat_at + CHAT_EVERY_SECONDS
            self.busy_until[chat_id] = now + BUSY_SECONDS_MAX
            return 0.0

    def leave(self, chat_id: int) -> None:
        with self.lock:
            self.busy_until.pop(chat_id, None)

    def hold(self, seconds: float, now: float) -> None:
        with self.lock:
            full = now + seconds + (ALL_BURST - 1) * ALL_EVERY_SECONDS
            self.all_at = max(self.all_at, full)
