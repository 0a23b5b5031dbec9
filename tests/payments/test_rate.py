import pytest

from core.errors import Unavailable
from payments.rate import Bucket


class Time:
    """A clock that moves only while somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds


def bucket(time: Time, per_second: float = 5) -> Bucket:
    return Bucket(per_second, wait_seconds_max=1.0, clock=lambda: time.now, wait=time.wait)


def test_a_burst_passes_at_once_and_then_calls_keep_the_rate() -> None:
    time = Time()
    calls = bucket(time)
    for _ in range(10):
        calls.take()
    assert time.now == pytest.approx(100.0 + 5 * 0.2)


def test_a_pause_earns_one_burst_and_not_more() -> None:
    time = Time()
    calls = bucket(time)
    time.now += 3600
    for _ in range(6):
        calls.take()
    assert sum(time.waits) == pytest.approx(0.2)


def test_a_turn_too_far_off_is_refused_and_takes_no_place() -> None:
    time = Time()
    calls = Bucket(5, wait_seconds_max=1.0, clock=lambda: time.now, wait=lambda _: None)
    for _ in range(10):  # five at once, five that wait 0.2 to 1.0 s
        calls.take()
    for _ in range(3):
        with pytest.raises(Unavailable):
            calls.take()
    time.now += 0.2
    calls.take()


def test_a_rate_below_one_a_second_spaces_single_calls() -> None:
    time = Time()
    calls = Bucket(0.5, wait_seconds_max=10, clock=lambda: time.now, wait=time.wait)
    calls.take()
    calls.take()
    assert time.waits == [2.0]
