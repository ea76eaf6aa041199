"""Copy chunks from where they lie in the store into the pack that is being built: read, verify, append.

Packs that this process made a while ago are still in memory, and are not read again.

A large frame is copied as it is stored. Small chunks are decoded and put together anew, for as long as a capture of
everything at once would have put them together: frames of one log line each, and frames half of which nothing uses any
more, are what makes the five-hundredth version slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from studio_cas.codec import frames
from studio_cas.codec.choose import Codec
from studio_cas.errors import CorruptError, NotFoundError
from studio_cas.formats import keys
from studio_cas.ids import digest
from studio_cas.store.ingest import GROUP_SIZE
from studio_cas.worktree import plan
from studio_cas.worktree.plan import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from studio_cas.formats.leaf import Place
    from studio_cas.ids import PackId
    from studio_cas.store.ingest import Ingest
    from studio_cas.store.store import Store
    from studio_cas.worktree.plan import FrameRead, RangeRead

READERS = 8
WHOLE = 64 * 1024
"""A frame of at least so many plain bytes, all of them used, is copied as it is."""


class Source(NamedTuple):
    """Where a chunk lies, and its plain length."""

    place: Place
    length: int


class Frame(NamedTuple):
    """A frame of a pack, verified: what is wanted of it, and its stored bytes; `whole` where it is copied as it is."""

    wanted: list[Wanted]
    stored: memoryview
    plain: int
    codec: int
    whole: bool


class DamagedError(Exception):
    """Packs are damaged, in a sentence each: capture again, without what lies in them."""

    def __init__(self, packs: dict[PackId, str]) -> None:
        super().__init__("; ".join(packs.values()))
        self.packs = packs


def copy(store: Store, ingest: Ingest, wanted: Mapping[bytes, Source]) -> dict[bytes, Place]:
    """Append the chunks to the data pack of `ingest`, in the order of `wanted`; where they lie now.

    All frames are held in memory, as they are stored, until the last is verified. Raises DamagedError, then nothing was
    appended, and what the store raises otherwise.
    """
    found: list[Frame] = []
    damaged: dict[PackId, str] = {}
    for read, answer in _read_all(store, wanted):
        if isinstance(answer, str):
            damaged[read.pack] = f"pack {read.pack.hex()} is damaged ({answer})"
        else:
            found += answer
    if damaged:
        raise DamagedError(damaged)
    rank = {chunk_id: index for index, chunk_id in enumerate(wanted)}
    found.sort(key=lambda frame: min(rank[one.chunk_id] for one in frame.wanted))
    return _append(ingest, found)


def _read_all(store: Store, wanted: Mapping[bytes, Source]) -> Iterable[tuple[RangeRead, list[Frame] | str]]:
    """Each range with the frames in it, or with what is wrong with it."""
    from concurrent.futures import ThreadPoolExecutor

    chunks = [
        (source.place, Wanted(chunk_id, source.place.inner, source.length, None)) for chunk_id, source in wanted.items()
    ]
    reads = plan.ranges(chunks)
    with ThreadPoolExecutor(READERS, "merge") as pool:
        return list(zip(reads, pool.map(lambda read: _read(store, read), reads), strict=True))


def _read(store: Store, read: RangeRead) -> list[Frame] | str:
    length = read.end - read.offset
    try:
        data = store.recent.read(read.pack, read.offset, length)
        if data is None:
            data = memoryview(store.backend.read(keys.pack(read.pack), read.offset, length))
        return [_verified(frame, data[frame.offset - read.offset :][: frame.stored]) for frame in read.frames]
    except NotFoundError:
        return "it is missing from the store"
    except CorruptError as error:
        return str(error)


def _verified(frame: FrameRead, stored: memoryview) -> Frame:
    """Raises CorruptError."""
    plain = memoryview(frames.decode(frame.codec, stored, frame.plain))
    for one in frame.wanted:
        if digest(_piece(plain, one)) != one.chunk_id:
            message = "a chunk is not what its id says"
            raise CorruptError(message)
    wanted = sorted(frame.wanted, key=lambda one: one.inner)
    full = sum(one.length for one in wanted) == frame.plain
    whole = full and (frame.plain >= WHOLE or frame.codec == Codec.PLANES)
    return Frame(wanted, stored, frame.plain, frame.codec, whole)


def _piece(plain: memoryview, one: Wanted) -> memoryview:
    return plain[one.inner : one.inner + one.length]


def _append(ingest: Ingest, found: list[Frame]) -> dict[bytes, Place]:
    places: dict[bytes, Place] = {}
    group: list[tuple[bytes, bytes]] = []
    size = 0
    for frame in found:
        if frame.whole:
            places |= ingest.copied([(one.chunk_id, one.length) for one in frame.wanted], frame.codec, frame.stored)
            continue
        plain = memoryview(frames.decode(frame.codec, frame.stored, frame.plain))
        for one in frame.wanted:
            if group and size + one.length > GROUP_SIZE:
                places |= ingest.grouped(group)
                group, size = [], 0
            group.append((one.chunk_id, bytes(_piece(plain, one))))
            size += one.length
    if group:
        places |= ingest.grouped(group)
    return places
