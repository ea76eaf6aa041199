"""Which cycles begin now: what somebody waits for, then the small ones; a large one leaves a lane to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio_cas.sync.member import Member

LANES = 2
LARGE = 256 << 20  # bytes: at most one cycle of so many at a time


def choose(members: Sequence[Member], now: float) -> list[Member]:
    """Those of `members` whose cycles begin now, in order."""
    due = [member for member in members if member.due() <= now]
    free = LANES - sum(member.running for member in members)
    if not due or free <= 0:
        return []
    large = any(member.running and member.begun_weight >= LARGE for member in members)
    chosen = []
    for member in due:
        member.begun_weight = member.weight()
    for member in sorted(due, key=lambda one: (not one.waiting, one.begun_weight)):
        is_large = member.begun_weight >= LARGE
        if free and not (is_large and large):
            chosen.append(member)
            large |= is_large
            free -= 1
    return chosen
