"""What goes into an ingest, and what workers make of it: the chunks of a file, batches of them, frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from studio_cas.codec.choose import Choice
    from studio_cas.formats.leaf import Place
    from studio_cas.ids import Buffer


class Chunks:
    """The chunks of one file, in order; complete when `pending` is 0 and the file was read to its end."""

    __slots__ = ("choices", "ids", "lengths", "pending", "places")

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.lengths: list[int] = []
        self.places: list[Place] = []
        self.pending = 0
        self.choices: dict[int, Choice] = {}

    @classmethod
    def one(cls, chunk_id: bytes, length: int, place: Place) -> Self:
        """A file of one chunk that has its place."""
        chunks = cls.__new__(cls)
        chunks.ids, chunks.lengths, chunks.places, chunks.pending = [chunk_id], [length], [place], 0
        return chunks


class Encoded(NamedTuple):
    """What a worker made of one chunk, or of several that share a frame: a known place, or the frame."""

    chunks: list[tuple[bytes, int]]
    place: Place | None
    codec: int
    parts: list[Buffer]


class Group(NamedTuple):
    """What a worker made of small files: their ids, the places of known ones, and one frame of `fresh` (id, length)."""

    ids: list[bytes]
    known: dict[bytes, Place]
    fresh: list[tuple[bytes, int]]
    codec: int
    parts: list[Buffer]


class Batch(NamedTuple):
    """Consecutive chunks of a file of `size` bytes, from `offset` on; `grouped`: small ones share frames."""

    view: memoryview
    lengths: list[int]
    offset: int
    size: int
    grouped: bool
