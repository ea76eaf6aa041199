"""Byte planes: numbers of 2, 4 or 8 bytes, the sign rotated to the bottom, their bytes grouped by significance.

Neighbouring weights share sign-free exponents and little else, so the top plane compresses and the low ones are noise.
A group is 1, 2 or 4 neighbouring planes that are stored together: noise stays in wide groups, which costs no work.

Payload: u8 width, u8 phase, u8 count of groups, then for each group, lowest bytes first, u8 bytes of a number that it
holds, u8 how it is stored (0 raw, 1 zstd), u32 stored length; then the bytes before the first whole number (`phase` of
them) and after the last; then the groups, lowest first.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from studio_cas.codec import zstd
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

    Groups = tuple[tuple[int, bool], ...]

HEADER = struct.Struct("<BBB")
GROUP = struct.Struct("<BBI")
DTYPES: dict[int, Any] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
RAW, ZSTD = 0, 1
WORTH = 0.98
_scratch = threading.local()


def rotated(data: Buffer, width: int) -> Any:
    """The whole numbers of `data`, sign bit rotated to the bottom; valid until this thread's next call."""
    numbers: Any = np.frombuffer(data, dtype=DTYPES[width])
    first, second = _buffers(numbers.size, width)
    np.left_shift(numbers, 1, out=first)
    np.right_shift(numbers, width * 8 - 1, out=second)
    return np.bitwise_or(first, second, out=first)


def _buffers(count: int, width: int) -> tuple[Any, Any]:
    """Two arrays of `count` numbers that this thread uses again and again."""
    size = count * width
    held = getattr(_scratch, "arrays", None)
    if held is None or held[0].size < size:
        held = _scratch.arrays = (np.empty(size, np.uint8), np.empty(size, np.uint8))
    dtype = DTYPES[width]
    return held[0][:size].view(dtype), held[1][:size].view(dtype)


def encode(data: memoryview, width: int, phase: int, groups: Groups) -> list[Buffer]:
    """The payload for `data`, in parts. `groups`: (bytes of a number, whether to compress), lowest bytes first."""
    return encode_run(data, [len(data)], width, phase, groups)[0]


def encode_run(data: memoryview, lengths: list[int], width: int, phase: int, groups: Groups) -> list[list[Buffer]]:
    """The payloads of the consecutive chunks of `data`, in parts; `phase` is that of the first.

    The planes are made once for all of them: each step hands the interpreter lock around, so few and large ones.
    """
    count = max(0, len(data) - phase) // width
    planes = _split(data[phase : phase + count * width], width, groups)
    payloads = []
    start = 0
    for length in lengths:
        end = start + length
        first = min(count, max(0, -((phase - start) // width)))
        last = max(first, min(count, (end - phase) // width))
        inside = max(start, phase + first * width)  # where the first number of this chunk begins
        if inside > end:
            first, last, inside = 0, 0, end
        edges = (data[start:inside], data[inside + (last - first) * width : end])
        payloads.append(_payload(width, [plane[first:last] for plane in planes], groups, edges))
        start = end
    return payloads


def _split(data: memoryview, width: int, groups: Groups) -> list[Any]:
    """The groups of planes of the numbers of `data`, each an array with one item a number."""
    turned = rotated(data, width)
    _, scratch = _buffers(turned.size, width)
    planes = []
    shift = 0
    for size, _ in groups:
        shifted = np.right_shift(turned, shift * 8, out=scratch) if shift else turned
        planes.append(shifted.astype(DTYPES[size]))
        shift += size
    return planes


def _payload(width: int, planes: list[Any], groups: Groups, edges: tuple[memoryview, memoryview]) -> list[Buffer]:
    header = [HEADER.pack(width, len(edges[0]), len(groups))]
    bodies: list[Buffer] = []
    for (size, squeeze), plane in zip(groups, planes, strict=True):
        body: Buffer = plane.data.cast("B") if len(plane) else b""
        mode = RAW
        if squeeze:
            frame = zstd.compress_plane(body)
            if len(frame) < WORTH * len(body):
                body, mode = frame, ZSTD
        header.append(GROUP.pack(size, mode, len(body)))
        bodies.append(body)
    return [b"".join((*header, *edges)), *bodies]


def decode(payload: memoryview, size: int) -> memoryview:
    """The `size` bytes of `payload`; valid until this thread's next call. Raises CorruptError."""
    try:
        return _decode(payload, size)
    except (struct.error, KeyError, ValueError) as error:
        message = f"byte planes are damaged: {error}"
        raise CorruptError(message) from error


def _decode(payload: memoryview, size: int) -> memoryview:
    width, phase, group_count = HEADER.unpack_from(payload)
    at = HEADER.size + group_count * GROUP.size
    groups = [GROUP.unpack_from(payload, HEADER.size + index * GROUP.size) for index in range(group_count)]
    if width not in (2, 4, 8) or phase > size or sum(group[0] for group in groups) != width:
        message = f"width {width}, phase {phase} and groups {groups} do not fit {size} bytes"
        raise ValueError(message)
    count = (size - phase) // width
    end = phase + count * width
    out = _output(size)
    edges = phase + size - end
    out[:phase] = payload[at : at + phase]
    out[end:size] = payload[at + phase : at + edges]
    numbers = _merge(_planes(payload, at + edges, groups, count), [group[0] for group in groups], width)
    _, scratch = _buffers(count, width)
    np.left_shift(numbers, width * 8 - 1, out=scratch)
    np.right_shift(numbers, 1, out=numbers)
    target: Any = np.frombuffer(out, dtype=DTYPES[width], offset=phase, count=count)
    np.bitwise_or(numbers, scratch, out=target)
    return out[:size]


def _planes(payload: memoryview, at: int, groups: list[tuple[int, int, int]], count: int) -> list[Any]:
    """The groups of planes of `count` numbers, from offset `at` of the payload to its end."""
    planes: list[Any] = []
    for size, mode, length in groups:
        body: Buffer = payload[at : at + length]
        at += length
        if mode == ZSTD:
            body = zstd.decompress(body, count * size)
        planes.append(np.frombuffer(body, dtype=DTYPES[size], count=count))
    if at != len(payload):
        message = f"{len(payload) - at} bytes follow the last plane"
        raise ValueError(message)
    return planes


def _merge(planes: list[Any], sizes: list[int], width: int) -> Any:
    """The numbers whose groups of bytes are `planes`, lowest first."""
    numbers, _ = _buffers(len(planes[0]), width)
    np.copyto(numbers, planes[-1])
    for size, plane in zip(sizes[-2::-1], planes[-2::-1], strict=True):
        np.left_shift(numbers, size * 8, out=numbers)
        np.bitwise_or(numbers, plane, out=numbers)
    return numbers


def _output(size: int) -> memoryview:
    held = getattr(_scratch, "output", None)
    if held is None or len(held) < size:
        held = _scratch.output = memoryview(bytearray(max(size, 1024 * 1024)))
    return held
