"""Which ranges of which packs to read for a run of chunks: pure.

Frames of one pack that lie close together are read at once. What lies between them is then read for nothing, so the
shortest gaps are bridged first, as long as all of them together are a small share of what is wanted. Each frame is read
once, however many chunks it holds and however often they are wanted.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.errors import RefusedError
from studio_cas.formats.pack import FRAME_LIMIT, HARD_CAP, HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.formats.leaf import Place
    from studio_cas.ids import PackId

RANGE_LIMIT = 4 * 1024 * 1024
UNUSED_SHARE = 6  # one byte is read for nothing for so many that are wanted
UNUSED_SLACK = 16 * 1024  # or so many bytes


class Wanted(NamedTuple):
    """A chunk inside a frame's plain bytes, and what to do with it (an opaque value of the caller)."""

    chunk_id: bytes
    inner: int
    length: int
    target: object


@dataclass(slots=True)
class FrameRead:
    """One frame, relative to its pack, and the chunks that are wanted of it."""

    offset: int
    stored: int
    plain: int
    codec: int
    wanted: list[Wanted]


@dataclass(slots=True)
class RangeRead:
    """Bytes [offset, end) of a pack, and the frames in it, ascending."""

    pack: PackId
    offset: int
    end: int
    frames: list[FrameRead]


def ranges(
    chunks: Iterable[tuple[Place, Wanted]], limit: int = RANGE_LIMIT, slack: int = UNUSED_SLACK
) -> list[RangeRead]:
    """The reads for `chunks`, by pack in order of first use, ascending inside it. Raises RefusedError."""
    packs: dict[PackId, dict[int, FrameRead]] = {}
    for place, wanted in chunks:
        frames = packs.get(place.pack)
        if frames is None:
            frames = packs[place.pack] = {}
        frame = frames.get(place.offset)
        if frame is None:
            _check(place)
            frame = frames[place.offset] = FrameRead(place.offset, place.stored, place.plain, place.codec, [])
        if wanted.inner + wanted.length > frame.plain or place.stored != frame.stored:
            message = f"the manifest places a chunk outside its frame, in pack {place.pack.hex()}"
            raise RefusedError(message)
        frame.wanted.append(wanted)
    ascending = {pack: sorted(frames.values(), key=lambda frame: frame.offset) for pack, frames in packs.items()}
    bridged = _bridged(ascending, slack)
    return [read for pack, frames in ascending.items() for read in _coalesced(pack, frames, bridged, limit)]


def _check(place: Place) -> None:
    if place.plain > FRAME_LIMIT or place.stored > FRAME_LIMIT or not HEADER_SIZE <= place.offset <= HARD_CAP:
        what = f"a frame of {place.plain} bytes at {place.offset} of pack {place.pack.hex()}"
        message = f"the manifest places {what}, beyond any limit"
        raise RefusedError(message)


def _bridged(packs: dict[PackId, list[FrameRead]], slack: int) -> set[tuple[PackId, int]]:
    """The frames, by pack and offset, that are read together with the one before though something lies between."""
    gaps = [
        (frame.offset - before.offset - before.stored, pack, frame.offset)
        for pack, frames in packs.items()
        for before, frame in pairwise(frames)
    ]
    gaps.sort()
    wanted = sum(frame.stored for frames in packs.values() for frame in frames)
    unused = accumulate(max(0, gap) for gap, _, _ in gaps)
    fits = bisect_right(list(unused), max(slack, wanted // UNUSED_SHARE))
    return {(pack, offset) for _, pack, offset in gaps[:fits]}


def _coalesced(
    pack: PackId, frames: list[FrameRead], bridged: set[tuple[PackId, int]], limit: int
) -> Iterable[RangeRead]:
    current: RangeRead | None = None
    for frame in frames:
        end = frame.offset + frame.stored
        if current and (pack, frame.offset) in bridged and end - current.offset <= limit:
            current.end = max(current.end, end)
            current.frames.append(frame)
            continue
        if current:
            yield current
        current = RangeRead(pack, frame.offset, end, [frame])
    if current:
        yield current
