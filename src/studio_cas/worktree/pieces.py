"""The verified plain bytes of a few chunks, in memory: for whoever reads in order, and writes no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from studio_cas.codec import frames
from studio_cas.errors import CorruptError, NotFoundError
from studio_cas.formats import keys
from studio_cas.ids import digest
from studio_cas.store import damage
from studio_cas.worktree import plan
from studio_cas.worktree.plan import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.formats.leaf import Place
    from studio_cas.store.store import Store


class PlacedChunk(NamedTuple):
    """A chunk, and where it lies; `length` in plain bytes."""

    chunk_id: bytes
    length: int
    place: Place


class Pieces(NamedTuple):
    """What was read, by chunk id; and, where something is missing, why."""

    found: dict[bytes, bytes]
    failure: CorruptError | None

    def take(self, chunk: PlacedChunk) -> bytes:
        """The bytes of `chunk`, one of those that were asked for. Raises CorruptError."""
        piece = self.found.get(chunk.chunk_id)
        if piece is None or len(piece) != chunk.length:
            raise self.failure or CorruptError("a chunk has two lengths")
        return piece


def read_pieces(store: Store, chunks: Iterable[PlacedChunk]) -> Pieces:
    """Read, decode and verify `chunks`, each once; what is damaged or missing is left out."""
    found: dict[bytes, bytes] = {}
    failure: CorruptError | None = None
    distinct = {chunk.chunk_id: chunk for chunk in chunks}.values()
    try:
        reads = plan.ranges(
            (place, Wanted(chunk_id, place.inner, length, None)) for chunk_id, length, place in distinct
        )
    except CorruptError as error:
        return Pieces(found, error)
    for read in reads:
        try:
            _read(store, read, found)
        except CorruptError as error:
            failure = failure or error
    return Pieces(found, failure)


def _read(store: Store, read: plan.RangeRead, found: dict[bytes, bytes]) -> None:
    try:
        data = memoryview(store.backend.read(keys.pack(read.pack), read.offset, read.end - read.offset))
    except NotFoundError as error:
        damage.examine(store, read.pack)
        message = f"pack {read.pack.hex()} is missing from the store"
        raise CorruptError(message) from error
    for frame in read.frames:
        at = frame.offset - read.offset
        try:
            plain = memoryview(frames.decode(frame.codec, data[at : at + frame.stored], frame.plain))
        except CorruptError as error:
            damage.examine(store, read.pack)
            message = f"pack {read.pack.hex()} is damaged ({error})"
            raise CorruptError(message) from error
        for chunk_id, inner, length, _ in frame.wanted:
            piece = bytes(plain[inner : inner + length])
            if digest(piece) != chunk_id:
                damage.examine(store, read.pack)
                message = f"a chunk of pack {read.pack.hex()} is damaged"
                raise CorruptError(message)
            found[chunk_id] = piece
