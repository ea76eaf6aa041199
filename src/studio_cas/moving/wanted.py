"""Which packs of another store are wanted whole: those all of whose chunks are wanted, and missing here.

A chunk of a pack is known by where it begins, 8 bytes each: 32 MiB for a TiB of data.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.formats.leaf import Place
    from studio_cas.ids import PackId

INNER_BITS = 24
WHOLE_FROM = 4 * 1024 * 1024
"""Plain bytes that are wanted of a pack, at least: smaller ones are better put together into a larger one."""


class WantedChunks:
    """Gathers what is missing, by pack, in order of first use."""

    def __init__(self) -> None:
        self._starts: dict[PackId, array[int]] = {}
        self._bytes: dict[PackId, int] = {}

    def add(self, place: Place, length: int) -> None:
        """A chunk of `length` plain bytes is wanted."""
        starts = self._starts.get(place.pack)
        if starts is None:
            starts = self._starts[place.pack] = array("Q")
        starts.append(_start(place))
        self._bytes[place.pack] = self._bytes.get(place.pack, 0) + length

    def packs(self) -> list[PackId]:
        """The packs that may be worth taking whole."""
        return [pack for pack in self._starts if self._bytes[pack] >= WHOLE_FROM]

    def all_of(self, pack: PackId, places: Iterable[Place]) -> bool:
        """Whether every chunk of `pack`, which lie at `places`, is wanted."""
        return set(map(_start, places)) == set(self._starts.get(pack, ()))


def _start(place: Place) -> int:
    return place.offset << INNER_BITS | place.inner
