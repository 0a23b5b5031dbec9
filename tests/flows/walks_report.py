"""How many ways of the flows were walked, by which channels: told at the end of a run."""

from collections import Counter
from typing import Any, Final

CLOSED_TO: Final = "closed"  # nobody can go this way by that channel: it was seen that she cannot


def lines(reports: list[Any]) -> list[str]:
    """reports: of the tests that passed; each walk says of itself (way, channel, how)."""
    walks = [
        value for report in reports for name, value in report.user_properties if name == "walk"
    ]
    if not walks:
        return []
    # Here: every run of pytest loads this module, and few of them walk.
    from tests.flows import graph
    from tests.flows.walks_phones import CHANNELS

    ways = [str(edge) for edge in graph.edges()]
    told = [f"{len(ways)} ways out of the states of the flows; {len(walks)} walks"]
    hows = Counter(how for _way, _channel, how in walks if how != CLOSED_TO)
    told.append(", ".join(f"{count} {how}" for how, count in sorted(hows.items())))
    for channel in CHANNELS:
        walked = {way for way, by, how in walks if by == channel and how != CLOSED_TO}
        closed = {way for way, by, how in walks if by == channel} - walked
        left = len(ways) - len(walked) - len(closed)
        told.append(f"{channel:>14}: {len(walked)} walked, {len(closed)} closed, {left} unwalked")
    return told
