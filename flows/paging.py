"""Paging: which options of a list stand on which page, so that no page outgrows the screen."""

from collections.abc import Sequence


def starts(septets: Sequence[int], room: int, room_alone: int) -> list[int]:
    """Where each page begins.

    septets: of each option's whole line, its line break counted. room: for the lines of a page
    that names the next; room_alone: for those of a list that needs no second page.
    """
    if sum(septets) <= room_alone:
        return [0]
    begins, left = [0], room
    for index, cost in enumerate(septets):
        if cost > left and index > begins[-1]:
            begins.append(index)
            left = room
        left -= cost
    return begins
