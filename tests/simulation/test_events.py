"""Every money event, cut off at its boundaries: it ends as if nothing had befallen.

All that may befall at each boundary of each event is `make simulate EVENTS=all`; here one run of
four of most events, others of others, so that what events share is cut off everywhere.
"""

import pytest

from tests.simulation.events import EVENTS, Event, enumerate_all
from tests.simulation.town import Ground

# Many runs in one test, perhaps beside another suite.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("told", EVENTS, ids=lambda told: told.name.replace(" ", "_"))
def test_whatever_befalls_a_money_event_once_it_ends_as_if_nothing_had(
    ground: Ground, told: Event
) -> None:
    done = enumerate_all(ground, told, told.share)
    assert done.runs * told.share >= done.points > 3
    assert not done.broken, "\n".join(done.broken)
