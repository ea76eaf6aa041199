"""Which known chunks are worth taking from where they lie: only runs, so that restores stay sequential."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from studio_cas.formats.leaf import Place
    from studio_cas.ids import PackId

RUN_CHUNKS = 4
RUN_BYTES = 1024 * 1024


def keep_runs(
    places: Sequence[Place | None], lengths: Sequence[int], owns: Callable[[PackId], bool], *, whole: bool
) -> list[Place | None]:
    """`places` without the hits that are too few in a row: fewer than 4 chunks and less than 1 MiB.

    Kept in any case: hits in packs that the parent version uses (`owns`), a file that is known whole (`whole`: these
    are all its chunks), and runs at
    the ends of the batch, which may go on beyond it.
    """
    kept = list(places)
    start = 0
    while start < len(kept):
        if kept[start] is None:
            start += 1
            continue
        end = start
        size = 0
        while end < len(kept) and kept[end] is not None:
            size += lengths[end]
            end += 1
        at_edge = not whole and (start == 0 or end == len(kept))
        entire = start == 0 and end == len(kept)
        if not (end - start >= RUN_CHUNKS or size >= RUN_BYTES or at_edge or entire):
            for index in range(start, end):
                place = kept[index]
                if place is not None and not owns(place.pack):
                    kept[index] = None
        start = end
    return kept
