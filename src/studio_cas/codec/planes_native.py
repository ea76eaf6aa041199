"""Byte planes by the compiled library: one pass over a chunk, which stays in the processor's cache meanwhile."""

from __future__ import annotations

import ctypes
import threading
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from studio_cas.codec import payload as payloads
from studio_cas.codec import zstd
from studio_cas.codec.payload import GROUP, HEADER, RAW, WORTH, ZSTD
from studio_cas.native import address

if TYPE_CHECKING:
    from studio_cas.codec.payload import Groups, Span
    from studio_cas.ids import Buffer

_scratch = threading.local()


def encode_run(
    library: ctypes.CDLL,
    data: memoryview,
    lengths: list[int],
    width: int,
    phase: int,
    groups: Groups,
    limit: float | None,
) -> list[list[Buffer] | None]:
    """As `planes.encode_run`."""
    base = address(data)
    return [
        _chunk(library, data[span.start : span.end], base + span.start, span, width, groups, limit)
        for span in payloads.spans(lengths, width, phase)
    ]


def _chunk(
    library: ctypes.CDLL,
    data: memoryview,
    at: int,
    span: Span,
    width: int,
    groups: Groups,
    limit: float | None,
) -> list[Buffer] | None:
    """The payload of the chunk `data`, which lies at address `at`; see `encode_run`."""
    count = span.numbers
    room, begin = _room(count * width)
    ends = list(accumulate((count * size for size, _ in groups), initial=0))
    outs = (ctypes.c_void_p * len(groups))(*(begin + end for end in ends[:-1]))
    library.studio_split(at + span.inside, count, width, bytes(size for size, _ in groups), len(groups), outs)
    planes: list[Buffer] = [room[ends[index] : ends[index + 1]] for index in range(len(groups))]
    rows = []
    for index, (size, squeeze) in enumerate(groups):
        plane, mode = planes[index], RAW
        if squeeze:
            frame = zstd.compress_plane(plane)
            if len(frame) < WORTH * len(plane):
                planes[index], mode = frame, ZSTD
        rows.append((size, mode, len(planes[index])))
    edges = (data[: span.inside], data[span.inside + count * width :])
    total = HEADER.size + len(groups) * GROUP.size + sum(map(len, (*edges, *planes)))
    if limit is not None and total > limit * len(data):
        return None
    return [_stored([payloads.header(width, edges, rows), *planes], total, data)]


def _stored(parts: list[Buffer], total: int, data: memoryview) -> Buffer:
    """The parts together: in the room of `data`, or in fresh memory where that is read only or too small."""
    if data.readonly or total > len(data):
        return b"".join(parts)
    at = 0
    for part in parts:
        data[at : at + len(part)] = part
        at += len(part)
    return data[:total]


def _room(size: int) -> tuple[memoryview, int]:
    """At least `size` bytes that this thread uses again and again, and their address."""
    held = getattr(_scratch, "room", None)
    if held is None or len(held[0]) < size:
        room = memoryview(bytearray(max(size, 1024 * 1024)))
        held = _scratch.room = (room, address(room))
    return held


def merge(library: ctypes.CDLL, planes: list[Buffer], sizes: list[int], target: memoryview, width: int) -> None:
    """Put the numbers whose groups of bytes are `planes`, lowest first, into `target`."""
    froms = (ctypes.c_void_p * len(planes))(*map(address, planes))
    library.studio_merge(address(target), len(target) // width, width, bytes(sizes), len(sizes), froms)


def entropies(library: ctypes.CDLL, sample: memoryview, width: int) -> list[float]:
    """As `planes.entropies`."""
    found: Any = (ctypes.c_double * width)()
    library.studio_entropies(address(sample), len(sample) // width, width, found)
    return list(found)
