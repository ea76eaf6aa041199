"""Which packs of a version are merged into a new one, so that version 500 is read as fast as version 1: pure.

A version made every minute leaves a small pack each time, and its older packs hold less and less that it still uses.
Both cost a read for few bytes. What counts is therefore not how large a pack is, but how much of it the version uses.

Packs join from the smallest on, and one joins only where the smaller ones together are at least its size. So what was
merged is merged again only when as much has come since, and a byte is copied a few times in its life, not every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from studio_cas.ids import PackId

MIB = 1024 * 1024
PACK = 32 * MIB


class Used(NamedTuple):
    """A pack, the bytes of it that the version uses, and when this artifact made it (seconds since the epoch).

    `made` is None for the pack of another artifact, or of another machine: copying it would undo dedup.
    """

    pack: PackId
    used: int
    made: float | None


@dataclass(frozen=True, slots=True)
class Policy:
    """When to merge. Sizes in bytes, ages in seconds.

    A pack is small where fewer than `small` bytes of it are used: half of the longest read. Copying larger ones costs
    more than it saves: what a cycle adds to a log of 10 MB a minute, or changes in 200 MB of weights, would be written
    twice. Small ones are merged when they add up to `full`, or are `many`, or when a `few` are older than `age`.
    `limit` bounds what one capture copies, which it holds in memory. Packs of others are left alone, unless the version
    has `spare` packs more than four for each 32 MiB.
    """

    small: int = 2 * MIB
    full: int = 16 * MIB
    many: int = 8
    few: int = 4
    age: float = 1800.0
    limit: int = 64 * MIB
    spare: int = 16


NEVER = Policy(small=0)
DEFAULT = Policy()


def choose(packs: Iterable[Used], now: float, policy: Policy = DEFAULT) -> list[PackId]:
    """The packs to merge at `now`, the smallest first; none where it is not worth it yet."""
    known = list(packs)
    size = sum(one.used for one in known)
    crowded = len(known) > 4 * size / PACK + policy.spare
    small = sorted(
        (one for one in known if one.used < policy.small and (crowded or one.made is not None)),
        key=lambda one: (one.used, one.pack),
    )
    joined = _joined(small, policy.limit)
    old = sum(1 for one in joined if one.made is None or now - one.made >= policy.age)
    full = sum(one.used for one in joined) >= policy.full
    if len(joined) >= policy.many or (len(joined) > 1 and full) or old >= policy.few:
        return [one.pack for one in joined]
    return []


def _joined(small: Sequence[Used], limit: int) -> Sequence[Used]:
    """The longest run from the smallest on whose last is no larger than those before it together, within `limit`."""
    end = 0
    for index, total in enumerate(accumulate(one.used for one in small)):
        if total > limit:
            break
        if index and small[index].used <= total - small[index].used:
            end = index + 1
    return small[:end]
