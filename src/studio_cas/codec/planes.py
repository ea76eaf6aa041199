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
DTYPES = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
RAW, ZSTD = 0, 1
WORTH = 0.98
_scratch = threading.local()


def rotated(data: Buffer, width: int) -> Any:
    """The whole numbers of `data`, sign bit rotated to the bottom; valid until this thread's next call."""
    numbers = np.frombuffer(data, dtype=DTYPES[width])
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
    count = max(0, len(data) - phase) // width
    end = phase + count * width
    numbers = rotated(data[phase:end], width)
    _, scratch = _buffers(numbers.size, width)
    bodies: list[Buffer] = []
    header = [HEADER.pack(width, phase, len(groups))]
    shift = 0
    for size, squeeze in groups:
        shifted = np.right_shift(numbers, shift * 8, out=scratch) if shift else numbers
        body: Buffer = shifted.astype(DTYPES[size]).data.cast("B") if count else b""
        mode = RAW
        if squeeze:
            frame = zstd.compress_plane(body)
            if len(frame) < WORTH * len(body):
                body, mode = frame, ZSTD
        header.append(GROUP.pack(size, mode, len(body)))
        bodies.append(body)
        shift += size
    return [b"".join((*header, data[:phase], data[end:])), *bodies]


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
    at += edges
    numbers, scratch = _buffers(count, width)
    parts = []
    for group_size, mode, length in groups:
        body: Buffer = payload[at : at + length]
        at += length
        if mode == ZSTD:
            body = zstd.decompress(body, count * group_size)
        parts.append(np.frombuffer(body, dtype=DTYPES[group_size], count=count))
    if at != len(payload):
        message = f"{len(payload) - at} bytes follow the last plane"
        raise ValueError(message)
    np.copyto(numbers, parts[-1])
    for (group_size, _, _), part in zip(groups[-2::-1], parts[-2::-1], strict=True):
        np.left_shift(numbers, group_size * 8, out=numbers)
        np.bitwise_or(numbers, part, out=numbers)
    np.left_shift(numbers, width * 8 - 1, out=scratch)
    np.right_shift(numbers, 1, out=numbers)
    target = np.frombuffer(out, dtype=DTYPES[width], offset=phase, count=count)
    np.bitwise_or(numbers, scratch, out=target)
    return out[:size]


def _output(size: int) -> memoryview:
    held = getattr(_scratch, "output", None)
    if held is None or len(held) < size:
        held = _scratch.output = memoryview(bytearray(max(size, 1024 * 1024)))
    return held
