"""Copy chunks from where they lie in the store into the pack that is being built: read, verify, append.

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
    from studio_cas.ids import Buffer, PackId
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


class Piece(NamedTuple):
    """A frame to copy: its chunks (id, length) and stored bytes; or, without a codec, the plain bytes of one chunk."""

    chunks: list[tuple[bytes, int]]
    data: Buffer
    codec: int | None


class Copied(NamedTuple):
    """Where the chunks lie now; or the packs that are damaged, and how."""

    places: dict[bytes, Place]
    damaged: dict[PackId, str]


def copy(store: Store, ingest: Ingest, wanted: Mapping[bytes, Source]) -> Copied:
    """Append the chunks to the data pack of `ingest`, in the order of `wanted`; none of them where a pack is damaged.

    Everything is held in memory until all of it was verified. Raises what the store raises, but for damage.
    """
    pieces: list[Piece] = []
    damaged: dict[PackId, str] = {}
    for read, found in _read_all(store, wanted):
        if isinstance(found, str):
            damaged[read.pack] = f"pack {read.pack.hex()} is damaged ({found})"
        else:
            pieces += found
    if damaged:
        return Copied({}, damaged)
    rank = {chunk_id: index for index, chunk_id in enumerate(wanted)}
    pieces.sort(key=lambda piece: min(rank[chunk_id] for chunk_id, _ in piece.chunks))
    return Copied(_append(ingest, pieces), {})


def _read_all(store: Store, wanted: Mapping[bytes, Source]) -> Iterable[tuple[RangeRead, list[Piece] | str]]:
    """Each range with the pieces in it, or with what is wrong with it."""
    from concurrent.futures import ThreadPoolExecutor

    chunks = [
        (source.place, Wanted(chunk_id, source.place.inner, source.length, None)) for chunk_id, source in wanted.items()
    ]
    reads = plan.ranges(chunks)
    with ThreadPoolExecutor(READERS, "merge") as pool:
        return list(zip(reads, pool.map(lambda read: _read(store, read), reads), strict=True))


def _read(store: Store, read: RangeRead) -> list[Piece] | str:
    try:
        data = memoryview(store.backend.read(keys.pack(read.pack), read.offset, read.end - read.offset))
        pieces = []
        for frame in read.frames:
            start = frame.offset - read.offset
            pieces += _pieces(frame, data[start : start + frame.stored])
    except NotFoundError:
        return "it is missing from the store"
    except CorruptError as error:
        return str(error)
    return pieces


def _pieces(frame: FrameRead, stored: memoryview) -> list[Piece]:
    """What is wanted of a frame, verified. Raises CorruptError."""
    plain = memoryview(frames.decode(frame.codec, stored, frame.plain))
    for one in frame.wanted:
        if digest(plain[one.inner : one.inner + one.length]) != one.chunk_id:
            message = "a chunk is not what its id says"
            raise CorruptError(message)
    ordered = sorted(frame.wanted, key=lambda one: one.inner)
    if sum(one.length for one in ordered) == frame.plain and (frame.plain >= WHOLE or frame.codec == Codec.PLANES):
        return [Piece([(one.chunk_id, one.length) for one in ordered], stored, frame.codec)]
    return [
        Piece([(one.chunk_id, one.length)], bytes(plain[one.inner : one.inner + one.length]), None) for one in ordered
    ]


def _append(ingest: Ingest, pieces: list[Piece]) -> dict[bytes, Place]:
    places: dict[bytes, Place] = {}
    loose: list[Piece] = []
    size = 0
    for piece in pieces:
        if piece.codec is not None:
            places |= ingest.copied(piece.chunks, piece.codec, piece.data)
            continue
        if loose and size + len(piece.data) > GROUP_SIZE:
            places |= ingest.grouped([(one.chunks[0][0], one.data) for one in loose])
            loose, size = [], 0
        loose.append(piece)
        size += len(piece.data)
    if loose:
        places |= ingest.grouped([(one.chunks[0][0], one.data) for one in loose])
    return places
