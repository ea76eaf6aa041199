"""The payload of byte planes: what stands before the planes, and how it is read. Pure."""

from __future__ import annotations

import struct
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.codec import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.ids import Buffer

    Groups = tuple[tuple[int, bool], ...]

HEADER = struct.Struct("<BBB")
GROUP = struct.Struct("<BBI")
WIDTHS = (2, 4, 8)
SIZES = (1, 2, 4, 8)
RAW, ZSTD = 0, 1
WORTH = 0.98  # of a group of planes: what shrinks less is stored as it is


class Span(NamedTuple):
    """A chunk of a run: bytes [start, end), whose whole `numbers` begin at `inside` of it, after `first` of the run."""

    start: int
    end: int
    inside: int
    numbers: int
    first: int


class Payload(NamedTuple):
    """What a payload says: edges, and for each group of planes, lowest first, its bytes as they are stored."""

    width: int
    numbers: int
    before: memoryview
    after: memoryview
    groups: list[tuple[int, int, memoryview]]


def spans(lengths: list[int], width: int, phase: int) -> Iterator[Span]:
    """The chunks of a run of numbers of `width` bytes that begin at `phase`."""
    total = max(0, sum(lengths) - phase) // width
    for start, end in pairwise(accumulate(lengths, initial=0)):
        first = min(total, max(0, -((phase - start) // width)))
        last = max(first, min(total, (end - phase) // width))
        inside = phase + first * width - start
        if not 0 <= inside <= end - start:
            first, last, inside = 0, 0, end - start
        yield Span(start, end, inside, last - first, first)


def header(width: int, edges: tuple[Buffer, Buffer], groups: list[tuple[int, int, int]]) -> bytes:
    """What stands before the planes; `groups`: bytes of a number, how it is stored, stored length."""
    return b"".join((HEADER.pack(width, len(edges[0]), len(groups)), *(GROUP.pack(*group) for group in groups), *edges))


def parse(payload: memoryview, size: int) -> Payload:
    """The parts of the payload of `size` plain bytes. Raises ValueError or struct.error."""
    width, phase, group_count = HEADER.unpack_from(payload)
    at = HEADER.size + group_count * GROUP.size
    groups = [GROUP.unpack_from(payload, HEADER.size + index * GROUP.size) for index in range(group_count)]
    fits = width in WIDTHS and phase <= size and sum(group[0] for group in groups) == width
    if not fits or not all(group[0] in SIZES for group in groups):
        message = f"width {width}, phase {phase} and groups {groups} do not fit {size} bytes"
        raise ValueError(message)
    count = (size - phase) // width
    begin = at + size - count * width
    edges = payload[at:begin]
    found = []
    for group, mode, length in groups:
        found.append((group, mode, payload[begin : begin + length]))
        begin += length
    if begin != len(payload) or len(edges) != size - count * width:
        message = f"its planes end at {begin} of {len(payload)} bytes"
        raise ValueError(message)
    return Payload(width, count, edges[:phase], edges[phase:], found)


def plane(group: tuple[int, int, memoryview], count: int) -> Buffer:
    """The plain bytes of a group of planes of `count` numbers. Raises ValueError or CorruptError."""
    size, mode, body = group
    if mode == ZSTD:
        return zstd.decompress(body, count * size)
    if len(body) != count * size:
        message = f"a group of {len(body)} bytes where {count * size} are expected"
        raise ValueError(message)
    return body
