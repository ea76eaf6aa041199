"""Which codec suits a file, from a sample of it: what can be said without trying every one on every byte."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from studio_cas.codec import zstd

SAMPLE = 16 * 1024
RAW_ABOVE = 0.97
PLANES_GAIN = 0.98
PLANES_COST = 0.01  # what frames and headers add, and what keeps zeros with plain zstd
CLEARLY = 0.99
TEXT_SHARE = 0.95
_TEXT_BYTES = bytes(range(32, 127)) + b"\t\n\r"


class Codec(IntEnum):
    """Persisted in pack footers and leaves. 3 is kept for differences against an earlier chunk."""

    RAW = 0
    ZSTD = 1
    PLANES = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """A codec; for planes the width of the numbers, the offset in the file of the first, and the groups of planes."""

    codec: Codec
    width: int = 1
    phase: int = 0
    groups: tuple[tuple[int, bool], ...] = ()


RAW = Choice(Codec.RAW)
ZSTD = Choice(Codec.ZSTD)


def is_text(sample: bytes) -> bool:
    """Whether nearly all bytes of `sample` are printable ASCII or above 127 (UTF-8), and none is 0."""
    if b"\0" in sample:
        return False
    return len(sample.translate(None, _TEXT_BYTES)) <= (1 - TEXT_SHARE) * len(sample)


def choose(sample: bytes, offset: int) -> Choice:
    """The codec for the bytes around `sample`, at `offset` of its file; at most SAMPLE bytes are looked at."""
    sample = sample[:SAMPLE]
    if is_text(sample):
        return ZSTD
    plain = len(zstd.compress(sample)) / max(1, len(sample))
    if len(sample) < 64:
        return ZSTD
    width, phase, bits = _best_planes(sample, offset)
    if bits / 8 + PLANES_COST < PLANES_GAIN * min(plain, RAW_ABOVE):
        return Choice(Codec.PLANES, width, (offset + phase) % width, _groups(sample, width, phase))
    return ZSTD if plain < RAW_ABOVE else RAW


def _best_planes(sample: bytes, offset: int) -> tuple[int, int, float]:
    """Width, phase and entropy (bits a byte) of the best way to see `sample` as numbers.

    Numbers mostly lie at multiples of their width in a file; another way must be clearly better, not by chance.
    """
    best = (2, -offset % 2, 8.0)
    for width in (2, 4, 8):
        for step in range(width):
            phase = (step - offset) % width
            bits = sum(_entropies(sample, width, phase)) / width
            if bits < best[2] * CLEARLY:
                best = (width, phase, bits)
    return best


def _entropies(sample: bytes, width: int, phase: int) -> list[float]:
    """Order-0 entropy of each plane, lowest first, in bits a byte."""
    from studio_cas.codec import planes

    count = (len(sample) - phase) // width
    return planes.entropies(memoryview(sample)[phase : phase + count * width], width)


def _groups(sample: bytes, width: int, phase: int) -> tuple[tuple[int, bool], ...]:
    """Planes worth compressing alone; neighbouring noise in groups as wide as their alignment allows."""
    squeeze = [entropy < 8 * PLANES_GAIN for entropy in _entropies(sample, width, phase)]
    groups: list[tuple[int, bool]] = []
    at = 0
    while at < width:
        size = 1
        if not squeeze[at]:
            while at % (size * 2) == 0 and at + size * 2 <= width and size < 4 and not any(squeeze[at : at + size * 2]):
                size *= 2
        groups.append((size, squeeze[at]))
        at += size
    return tuple(groups)
