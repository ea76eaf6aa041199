"""Byte planes by numpy: the same payloads where the compiled library is not there, and what tests compare it with.

The planes are made for all chunks of a run at once: each step hands the interpreter lock around, so few and large ones.
"""

from __future__ import annotations

import threading
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from studio_cas.codec import payload as payloads
from studio_cas.codec import zstd
from studio_cas.codec.payload import GROUP, HEADER, RAW, WORTH, ZSTD

if TYPE_CHECKING:
    from studio_cas.codec.payload import Groups, Span
    from studio_cas.ids import Buffer

DTYPES: dict[int, Any] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
_scratch = threading.local()


def encode_run(
    data: memoryview, lengths: list[int], width: int, phase: int, groups: Groups, limit: float | None
) -> list[list[Buffer] | None]:
    """As `planes.encode_run`; only planes that stay raw are put where their chunk was."""
    count = max(0, len(data) - phase) // width
    numbers, scratch = _aligned_numbers(data[phase : phase + count * width], width)
    chunks = [_Chunk(data[span.start : span.end], span, width) for span in payloads.spans(lengths, width, phase)]
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


def entropies(sample: memoryview, width: int) -> list[float]:
    """As `planes.entropies`."""
    count = len(sample) // width
    numbers, scratch = _aligned_numbers(sample[: count * width], width)
    np.right_shift(numbers, width * 8 - 1, out=scratch)
    np.left_shift(numbers, 1, out=numbers)
    np.bitwise_or(numbers, scratch, out=numbers)
    columns = numbers.view(np.uint8).reshape(-1, width)
    found = []
    for plane in range(width):
        counts = np.bincount(columns[:, plane], minlength=256)
        shares = counts[counts > 0] / count
        found.append(float(-(shares * np.log2(shares)).sum()) + (len(shares) - 1) / (2 * count * 0.6931))
    return found


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


class _Chunk:
    """One chunk on its way to a payload: `data`, at `span` of its run."""

    __slots__ = ("_edges", "_first", "_free", "_last", "_width", "data", "frames", "parts")

    def __init__(self, data: memoryview, span: Span, width: int) -> None:
        self.data = data
        self.frames: dict[int, bytes] = {}
        self._first, self._last, self._width = span.first, span.first + span.numbers, width
        self._edges = (data[: span.inside], data[span.inside + span.numbers * width :])
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
        rows = [
            (size, ZSTD if index in self.frames else RAW, length)
            for index, ((size, _), length) in enumerate(zip(groups, self._lengths(groups), strict=True))
        ]
        self.parts = [
            payloads.header(self._width, self._edges, rows),
            *(self.frames.get(index, b"") for index in range(len(groups))),
        ]

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


def merge(planes: list[Buffer], sizes: list[int], target: memoryview, width: int) -> None:
    """Put the numbers whose groups of bytes are `planes`, lowest first, into `target`."""
    count = len(target) // width
    numbers, scratch = _buffers(count, width)
    groups = [
        np.frombuffer(_aligned(body) if size > 1 else body, DTYPES[size], count)
        for body, size in zip(planes, sizes, strict=True)
    ]
    np.copyto(numbers, groups[-1])
    for size, group in zip(sizes[-2::-1], groups[-2::-1], strict=True):
        np.left_shift(numbers, size * 8, out=numbers)
        np.bitwise_or(numbers, group, out=numbers)
    np.left_shift(numbers, width * 8 - 1, out=scratch)
    np.right_shift(numbers, 1, out=numbers)
    np.bitwise_or(numbers, scratch, out=np.frombuffer(target, DTYPES[width], count))


def _aligned(body: Buffer) -> Buffer:
    """The same bytes at an even address: numpy is slow on others."""
    octets: Any = np.frombuffer(body, np.uint8)
    return octets.copy() if _address(octets) % 8 else body


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]  # .ctypes.data says the same, four times as slowly
    return address
