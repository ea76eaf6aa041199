"""Which ranges of which packs to read for a run of chunks: pure.

Frames of one pack that lie close together are read at once, as long as hardly anything between them is read for
nothing; each frame is read once, however many chunks it holds and however often they are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.errors import RefusedError
from studio_cas.formats.pack import FRAME_LIMIT, HARD_CAP, HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.formats.leaf import Place
    from studio_cas.ids import PackId

RANGE_LIMIT = 4 * 1024 * 1024
GAP_LIMIT = 128 * 1024
UNUSED_SHARE = 5  # at most a fifth of a range is read for nothing
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


def ranges(chunks: Iterable[tuple[Place, Wanted]], limit: int = RANGE_LIMIT, gap: int = GAP_LIMIT) -> list[RangeRead]:
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
    return [read for pack, frames in packs.items() for read in _coalesced(pack, frames, limit, gap)]


def _check(place: Place) -> None:
    if place.plain > FRAME_LIMIT or place.stored > FRAME_LIMIT or not HEADER_SIZE <= place.offset <= HARD_CAP:
        what = f"a frame of {place.plain} bytes at {place.offset} of pack {place.pack.hex()}"
        message = f"the manifest places {what}, beyond any limit"
        raise RefusedError(message)


def _coalesced(pack: PackId, frames: dict[int, FrameRead], limit: int, gap: int) -> Iterable[RangeRead]:
    current: RangeRead | None = None
    unused = 0
    for frame in sorted(frames.values(), key=lambda frame: frame.offset):
        end = frame.offset + frame.stored
        if current and frame.offset - current.end <= gap and end - current.offset <= limit:
            more = unused + max(0, frame.offset - current.end)
            if more <= max(UNUSED_SLACK, (end - current.offset) // UNUSED_SHARE):
                unused = more
                current.end = max(current.end, end)
                current.frames.append(frame)
                continue
        if current:
            yield current
        current, unused = RangeRead(pack, frame.offset, end, [frame]), 0
    if current:
        yield current
