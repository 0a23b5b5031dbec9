"""Every boundary of every money event, with everything that may befall there: all end well."""

import pytest

from tests.simulation.events import EVENTS, Event, enumerate_all
from tests.simulation.town import Ground

# Many runs in one test, perhaps beside another suite.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("told", EVENTS, ids=lambda told: told.name.replace(" ", "_"))
def test_whatever_befalls_a_money_event_once_it_ends_as_if_nothing_had(
    ground: Ground, told: Event
) -> None:
    done = enumerate_all(ground, told)
    assert done.runs > done.points > 4
    assert not done.broken, "\n".join(done.broken)
