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
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from studio_cas.codec import zstd
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    numbers, scratch = _aligned_numbers(data, width)
    np.right_shift(numbers, width * 8 - 1, out=scratch)
    np.left_shift(numbers, 1, out=numbers)
    return np.bitwise_or(numbers, scratch, out=numbers)


def _aligned_numbers(data: Buffer, width: int) -> tuple[Any, Any]:
    """The whole numbers of `data`, and room for as many."""
    octets: Any = np.frombuffer(data, dtype=np.uint8)
    numbers, scratch = _buffers(octets.size // width, width)
    np.copyto(numbers.view(np.uint8), octets)  # numpy is slow on numbers that begin at an odd address
    return numbers, scratch


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
    (parts,) = encode_run(data, [len(data)], width, phase, groups)
    return parts or []


def encode_run(
    data: memoryview, lengths: list[int], width: int, phase: int, groups: Groups, *, limit: float | None = None
) -> list[list[Buffer] | None]:
    """The payloads of the consecutive chunks of `data`, in parts; `phase` is that of the first.

    None stands for a chunk whose payload would be longer than `limit` of it. Where `data` can be written to, planes
    that stay raw are put where their chunk was: fresh memory for them would cost as much as all the rest.
    The planes are made for all chunks at once: each step hands the interpreter lock around, so few and large ones.
    """
    count = max(0, len(data) - phase) // width
    numbers, scratch = _aligned_numbers(data[phase : phase + count * width], width)
    chunks = [_Chunk(data[start:end], start, width, phase, count) for start, end in _spans(lengths)]
    shifts = list(accumulate((8 * size for size, _ in groups), initial=0))
    for index, (size, squeeze) in enumerate(groups):
        if squeeze:
            plane = scratch.view(DTYPES[size])
            _group(numbers, shifts[index], plane[:count], plane[count:])
            for chunk in chunks:
                chunk.squeeze(index, plane)
    kept = [chunk for chunk in chunks if limit is None or chunk.size(groups) <= limit * len(chunk.data)]
    for chunk in kept:
        chunk.begin(groups)
        for index, (size, _) in enumerate(groups):
            chunk.keep(index, numbers, shifts[index], scratch.view(DTYPES[size]))
    return [chunk.parts or None for chunk in chunks]


def _group(numbers: Any, shift: int, out: Any, scratch: Any) -> None:
    """Put the bits of the rotated `numbers` from bit `shift` on into `out`, as many as it holds.

    One pass over memory, by numpy's buffered casting: to rotate, to shift and to cast would be four.
    """
    if shift:  # bit n of a rotated number is bit n - 1 of the number
        np.right_shift(numbers, shift - 1, out=out, casting="unsafe")
        return
    np.left_shift(numbers, 1, out=out, casting="unsafe")
    signs = scratch[: out.size] if scratch.size >= out.size else np.empty_like(out)
    np.right_shift(numbers, numbers.itemsize * 8 - 1, out=signs, casting="unsafe")
    np.bitwise_or(out, signs, out=out)


def _spans(lengths: list[int]) -> Iterator[tuple[int, int]]:
    return pairwise(accumulate(lengths, initial=0))


class _Chunk:
    """One chunk on its way to a payload: `data`, at `start` of a run whose `count` numbers begin at `phase`."""

    __slots__ = ("_edges", "_first", "_free", "_last", "_width", "data", "frames", "parts")

    def __init__(self, data: memoryview, start: int, width: int, phase: int, count: int) -> None:
        end = start + len(data)
        first = min(count, max(0, -((phase - start) // width)))
        last = max(first, min(count, (end - phase) // width))
        inside = phase + first * width - start  # where the first number of this chunk begins
        if not 0 <= inside <= len(data):
            first, last, inside = 0, 0, len(data)
        self.data = data
        self.frames: dict[int, bytes] = {}
        self._first, self._last, self._width = first, last, width
        self._edges = (data[:inside], data[inside + (last - first) * width :])
        self.parts: list[Buffer] = []
        self._free = 0

    def squeeze(self, index: int, plane: Any) -> None:
        """Compress group `index`, where that is worth it."""
        body = plane[self._first : self._last].data.cast("B") if self._last > self._first else b""
        frame = zstd.compress_plane(body)
        if len(frame) < WORTH * len(body):
            self.frames[index] = frame

    def size(self, groups: Groups) -> int:
        """How long the payload will be, when the groups to compress are compressed."""
        edges = HEADER.size + len(groups) * GROUP.size + sum(map(len, self._edges))
        return edges + sum(self._lengths(groups))

    def _lengths(self, groups: Groups) -> list[int]:
        count = self._last - self._first
        return [
            len(self.frames[index]) if index in self.frames else count * size for index, (size, _) in enumerate(groups)
        ]

    def begin(self, groups: Groups) -> None:
        """Write the header, and what was compressed: from here on the room of the chunk may be used."""
        header = [HEADER.pack(self._width, len(self._edges[0]), len(groups))]
        for index, ((size, _), length) in enumerate(zip(groups, self._lengths(groups), strict=True)):
            header.append(GROUP.pack(size, ZSTD if index in self.frames else RAW, length))
        self.parts = [b"".join((*header, *self._edges)), *(self.frames.get(index, b"") for index in range(len(groups)))]

    def keep(self, index: int, numbers: Any, shift: int, scratch: Any) -> None:
        """Keep group `index` as it is, where it is not compressed."""
        count = self._last - self._first
        if index not in self.frames and count:
            target = self._space(count, scratch.dtype)
            _group(numbers[self._first : self._last], shift, target, scratch)
            self.parts[index + 1] = target.data.cast("B")

    def _space(self, count: int, dtype: Any) -> Any:
        """Room for `count` numbers: in the chunk itself, which is not needed any more, or in fresh memory."""
        if not self.data.readonly and count:
            octets: Any = np.frombuffer(self.data, np.uint8)
            start = self._free + -(_address(octets) + self._free) % dtype.itemsize
            end = start + count * dtype.itemsize
            if end <= len(self.data):
                self._free = end
                return octets[start:end].view(dtype)
        return np.empty(count, dtype)


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
    out = _output(size, phase)
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
        if mode == RAW and size > 1:
            body = _aligned(body)
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


def _aligned(body: Buffer) -> Buffer:
    """The same bytes at an even address: numpy is slow on others."""
    octets: Any = np.frombuffer(body, np.uint8)
    return octets.copy() if _address(octets) % 8 else body


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]  # .ctypes.data says the same, four times as slowly
    return address


def _output(size: int, phase: int) -> memoryview:
    """Room for `size` bytes, in which the numbers that begin at `phase` are aligned."""
    held = getattr(_scratch, "output", None)
    if held is None or len(held) < size + 8:
        held = _scratch.output = memoryview(bytearray(max(size, 1024 * 1024) + 8))
    pad = -phase % 8
    room: memoryview = held[pad : pad + size]
    return room
