"""Pages: nothing is lost, nothing moves, nothing outgrows the screen."""

from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from flows import paging

COSTS = st.lists(st.integers(3, 60), max_size=60)
ROOM = st.integers(60, 156)
MORE, BACK = 8, 7  # septets of the lines "99 More" and "0 Back", line breaks counted


def pages(costs: list[int], room: int) -> list[list[int]]:
    begins = paging.starts(costs, room, room + MORE)
    return [costs[a:b] for a, b in zip(begins, [*begins[1:], len(costs)], strict=True)]


@given(COSTS, ROOM)
def test_every_option_is_on_one_page_in_its_order(costs: list[int], room: int) -> None:
    assert [cost for page in pages(costs, room) for cost in page] == costs


@given(COSTS, ROOM)
def test_no_page_outgrows_its_room(costs: list[int], room: int) -> None:
    cut = pages(costs, room)
    allowed = room if len(cut) > 1 else room + MORE
    assert all(sum(page) <= allowed for page in cut)


@given(COSTS, ROOM)
def test_no_page_is_empty_but_that_of_an_empty_list(costs: list[int], room: int) -> None:
    cut = pages(costs, room)
    assert all(cut) or costs == []


@given(COSTS, ROOM)
def test_a_page_takes_all_that_it_can(costs: list[int], room: int) -> None:
    cut = pages(costs, room)
    for page, after in pairwise(cut):
        assert sum(page) + after[0] > room


@given(COSTS, ROOM)
def test_a_list_that_fits_without_another_page_has_one(costs: list[int], room: int) -> None:
    assume(sum(costs) <= room + MORE)
    assert paging.starts(costs, room, room + MORE) == [0]


def test_an_option_wider_than_the_room_has_its_page_alone() -> None:
    assert paging.starts([10, 200, 10], 50, 57) == [0, 1, 2]
