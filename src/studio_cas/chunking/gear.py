"""FastCDC in numpy, exact and slow: the oracle of the tests, and the fallback where pyfastcdc has no wheel.

FastCDC (Xia et al., 2020) with a 64-bit gear hash and normalisation level 2: after the first `minimum` bytes of a chunk
the hash rolls over each byte, `h = (h << 1) + GEAR[byte]`; the chunk ends before the first byte where `h & mask == 0`,
with a stricter mask before `average` and a laxer one after it, and at `maximum` in any case.
A shift by one forgets a byte after 64 steps, so the hash at a position is a sum over a window of at most 64 bytes;
doubling the window six times computes it for all positions at once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from studio_cas.chunking.parameters import ChunkingParameters

WINDOW = 64
NORMALISATION = 2
# Masks by the logarithm of the size they stand for: bits spread over the upper half (Xia et al.; as in FastCDC-rs).
MASKS = {
    5: 0x0000000001804110,
    6: 0x0000000001803110,
    7: 0x0000000018035100,
    8: 0x0000001800035300,
    9: 0x0000019000353000,
    10: 0x0000590003530000,
    11: 0x0000D90003530000,
    12: 0x0000D90103530000,
    13: 0x0000D90303530000,
    14: 0x0000D90313530000,
    15: 0x0000D90F03530000,
    16: 0x0000D90303537000,
    17: 0x0000D90703537000,
    18: 0x0000D90707537000,
    19: 0x0000D91707537000,
    20: 0x0000D91747537000,
    21: 0x0000D91767537000,
    22: 0x0000D93767537000,
}


def gear_table() -> list[int]:
    """The 256 constants of the gear hash: the first 8 bytes of MD5 over 64 times each byte, big-endian."""
    return [int.from_bytes(hashlib.md5(bytes([byte]) * 64).digest()[:8], "big") for byte in range(256)]  # noqa: S324 (constants)


_GEAR = np.array(gear_table(), dtype=np.uint64)


def _hashes(data: Any) -> Any:
    """The gear hash after each byte of `data`, begun at its first byte."""
    hashes = _GEAR[np.frombuffer(data, dtype=np.uint8)]
    step = 1
    while step < WINDOW:
        shifted = hashes.copy()
        shifted[step:] += hashes[:-step] << np.uint64(step)
        hashes = shifted
        step *= 2
    return hashes


def first_cut(data: memoryview, parameters: ChunkingParameters) -> int:
    """The length of the first chunk of `data`, taken as if `data` ended the file."""
    remaining = len(data)
    if remaining <= parameters.minimum:
        return remaining
    remaining = min(remaining, parameters.maximum)
    centre = min(parameters.average, remaining) // 2 * 2
    bits = (parameters.average - 1).bit_length()
    start, end = parameters.minimum // 2 * 2, remaining // 2 * 2
    hashes = _hashes(data[start:end])
    for low, high, mask in (
        (start, centre, MASKS[bits + NORMALISATION]),
        (centre, end, MASKS[bits - NORMALISATION]),
    ):
        hits = np.flatnonzero((hashes[low - start : high - start] & np.uint64(mask)) == 0)
        if len(hits):
            return low + int(hits[0])
    return remaining
