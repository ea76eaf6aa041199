"""Which chunks a pack holds, from its footer, one or two reads of its tail; and whether all of a pack is sound."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from studio_cas.codec import frames
from studio_cas.errors import CorruptError
from studio_cas.formats import keys, pack
from studio_cas.formats.leaf import OBJECT_LIMIT, Place
from studio_cas.formats.pack import FRAME_LIMIT, HEADER_SIZE, TRAILER
from studio_cas.ids import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.ids import Buffer, PackId
    from studio_cas.store.store import Store

TAIL = 64 * 1024


def read_footer(store: Store, pack_id: PackId) -> list[tuple[bytes, Place]]:
    """The chunks of a data pack and their places. Raises NotFoundError, CorruptError."""
    key = keys.pack(pack_id)
    tail, size = store.backend.read_tail(key, TAIL)
    view = memoryview(tail)
    trailer = view[len(view) - TRAILER.size :]
    offset, length = pack.footer_extent(trailer, size)
    start = size - len(view)
    stored = (
        view[offset - start : offset - start + length] if offset >= start else store.backend.read(key, offset, length)
    )
    return _places(pack_id, pack.decode_footer(stored, trailer), offset)


def placed_chunks(pack_id: PackId, data: Buffer) -> list[tuple[bytes, Place, int]]:
    """The chunks of the whole pack `data`, in order: id, place, plain length. Raises CorruptError."""
    view = memoryview(data)
    trailer = view[-TRAILER.size :]
    offset, length = pack.footer_extent(trailer, len(view))
    footer = pack.decode_footer(view[offset : offset + length], trailer)
    places = _places(pack_id, footer, offset)
    return [(chunk_id, place, plain) for (chunk_id, place), plain in zip(places, footer.lengths, strict=True)]


def check_chunks(data: memoryview, rows: Iterable[tuple[bytes, Place, int]], *, tree: bool = False) -> None:
    """See that all chunks of the whole pack `data` are what its `rows` (see `placed_chunks`) say. Raises CorruptError.

    Of a pack of trees only that they can be decoded: leaves and roots have checksums of their own.
    """
    limit = OBJECT_LIMIT if tree else FRAME_LIMIT
    offset, plain = -1, memoryview(b"")
    for chunk_id, place, length in rows:
        if place.offset != offset:
            offset = place.offset
            if place.plain > limit:
                message = f"a frame of {place.plain} bytes is beyond any limit"
                raise CorruptError(message)
            plain = memoryview(frames.decode(place.codec, data[offset : offset + place.stored], place.plain))
        if not tree and digest(plain[place.inner : place.inner + length]) != chunk_id:
            message = "a chunk is not what its id says"
            raise CorruptError(message)


def _places(pack_id: PackId, footer: pack.Footer, end: int) -> list[tuple[bytes, Place]]:
    """The chunks, in order, where the frames fill the pack from its header to `end`. Raises CorruptError."""
    *offsets, behind = accumulate(footer.stored, initial=HEADER_SIZE)
    if behind != end:
        message = f"the footer of pack {pack_id.hex()} lists frames that do not fill it"
        raise CorruptError(message)
    found = []
    inner, last = 0, -1
    for index, (frame, length) in enumerate(zip(footer.frames, footer.lengths, strict=True)):
        inner = 0 if frame != last else inner
        if frame >= len(offsets) or frame < last or inner + length > footer.plain[frame]:
            message = f"the footer of pack {pack_id.hex()} lists a chunk that lies in no frame"
            raise CorruptError(message)
        last = frame
        place = Place(pack_id, offsets[frame], footer.stored[frame], footer.plain[frame], inner, footer.codecs[frame])
        found.append((footer.ids[32 * index : 32 * (index + 1)], place))
        inner += length
    return found
