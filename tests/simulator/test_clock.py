"""The world's time, virtual and real."""

import logging
import threading

from simulator.clock import Clock
from tests.simulator.pretend import START


def test_what_is_due_is_done_in_order_at_its_time():
    clock, done = Clock(START), []
    for name, seconds in (("late", 9), ("soon", 3), ("soon too", 3), ("never", 11)):
        clock.after(
            seconds, lambda name=name: done.append((name, (clock.now() - START).total_seconds()))
        )
    clock.advance(10)
    assert done == [("soon", 3), ("soon too", 3), ("late", 9)]
    assert (clock.now() - START).total_seconds() == 10


def test_what_falls_due_by_something_due_is_done_in_the_same_advance():
    clock, done = Clock(START), []

    def again():
        done.append(clock.now())
        if len(done) < 5:
            clock.after(2, again)

    clock.after(0, again)
    assert done == []
    clock.advance(5)
    assert [(at - START).total_seconds() for at in done] == [0, 2, 4]


def test_real_time_fires_by_itself_and_is_not_held_up_by_one_slow_act():
    clock, go, fired = Clock(), threading.Event(), threading.Event()
    clock.start()
    clock.after(0, lambda: go.wait(60))
    clock.after(0.02, fired.set)
    assert fired.wait(60)
    go.set()
    clock.stop()


def test_a_broken_act_is_logged_and_the_world_goes_on(caplog):
    clock, fired = Clock(), threading.Event()
    clock.start()
    with caplog.at_level(logging.ERROR):
        clock.after(0, lambda: 1 / 0)
        clock.after(0.02, fired.set)
        assert fired.wait(60)
    assert "ZeroDivisionError" in caplog.text
    clock.stop()
    after = threading.Event()
    clock.after(0, after.set)
    assert not after.wait(0.1)
