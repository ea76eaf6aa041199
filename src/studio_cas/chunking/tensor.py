"""Where the tensors lie in a safetensors file or a zip with stored members (.pt, .npz): offsets, nothing is unpickled.

A file that does not parse has no spans, and is cut like any other. Sources: the safetensors format description
(an 8-byte little-endian header length, then JSON with `data_offsets`), and PKWARE's APPNOTE for zip and zip64.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    ReadAt = Callable[[int, int], bytes]
    Span = tuple[int, int]

ZIP_LOCAL_MAGIC = b"PK\x03\x04"
ZIP_NAMES = (b".pt", b".pth", b".ckpt", b".npz", b".bin")
HEADER_LIMIT = 16 * 1024 * 1024
END_RECORD = struct.Struct("<4s4H2LH")
END64_LOCATOR = struct.Struct("<4sLQL")
END64_RECORD = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
MARK32 = 0xFFFFFFFF
MARK16 = 0xFFFF


def regions(spans: Iterable[Span], size: int, minimum: int) -> tuple[tuple[int, ...], frozenset[int]]:
    """Where cutting begins anew: both ends of each span of at least `minimum` bytes, and `size`, ascending.

    And which of these ends a tensor, or the part of one up to where another begins.
    """
    cuts = {size}
    starts = set()
    for start, end in spans:
        if end - start >= minimum and start >= 0 and end <= size:
            cuts.update((start, end))
            starts.add(start)
    cuts.discard(0)
    ends = tuple(sorted(cuts))
    return ends, frozenset(end for start, end in pairwise((0, *ends)) if start in starts)


def safetensors_spans(size: int, read_at: ReadAt) -> list[Span] | None:
    """The byte ranges of the tensors of a safetensors file of `size` bytes; None where it has no sound header."""
    length = int.from_bytes(read_at(0, 8), "little")
    if not 2 <= length <= min(HEADER_LIMIT, size - 8):
        return None
    try:
        header = json.loads(read_at(8, length))
        base = 8 + length
        return [
            (base + int(entry["data_offsets"][0]), base + int(entry["data_offsets"][1]))
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OverflowError):
        return None


def zip_spans(size: int, read_at: ReadAt) -> list[Span]:
    """The byte ranges of the stored (not deflated) members of a zip file of `size` bytes."""
    try:
        directory, count, offset = _central_directory(size, read_at)
        return list(_members(directory, count, size, read_at)) if offset else []
    except (struct.error, ValueError, IndexError, OverflowError, OSError):
        return []


def _central_directory(size: int, read_at: ReadAt) -> tuple[bytes, int, int]:
    tail_start = max(0, size - END_RECORD.size - 0xFFFF)
    tail = read_at(tail_start, size - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        return b"", 0, 0
    _, _, _, _, count, length, offset, _ = END_RECORD.unpack_from(tail, at)
    if MARK32 in (length, offset) or count == MARK16:
        locator = END64_LOCATOR.unpack_from(tail, at - END64_LOCATOR.size)
        record = END64_RECORD.unpack(read_at(locator[2], END64_RECORD.size))
        count, length, offset = record[7], record[8], record[9]
    if length > HEADER_LIMIT or offset + length > size:
        return b"", 0, 0
    return read_at(offset, length), count, offset


def _members(directory: bytes, count: int, size: int, read_at: ReadAt) -> Iterable[Span]:
    at = 0
    for _ in range(count):
        fields = CENTRAL.unpack_from(directory, at)
        method, compressed, plain, offset = fields[4], fields[8], fields[9], fields[16]
        name_length, extra_length, comment_length = fields[10], fields[11], fields[12]
        extra_at = at + CENTRAL.size + name_length
        if MARK32 in (compressed, plain, offset):
            compressed, plain, offset = _zip64(directory[extra_at : extra_at + extra_length], compressed, plain, offset)
        at = extra_at + extra_length + comment_length
        if method == 0 and compressed == plain and offset + LOCAL.size <= size:
            local = LOCAL.unpack(read_at(offset, LOCAL.size))
            start = offset + LOCAL.size + local[9] + local[10]
            yield start, start + plain


def _zip64(extra: bytes, compressed: int, plain: int, offset: int) -> tuple[int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            numbers = list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            plain = numbers.pop(0) if plain == MARK32 else plain
            compressed = numbers.pop(0) if compressed == MARK32 else compressed
            offset = numbers.pop(0) if offset == MARK32 else offset
        at += 4 + length
    return compressed, plain, offset
