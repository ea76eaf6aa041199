"""Where the chunks of a file end: by content, or in equal pieces, region by region.

A file arrives in pieces; what certainly ends inside one is cut, and the rest waits for more.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from studio_cas.chunking.cdc import cutter
from studio_cas.chunking.profile import Profile

if TYPE_CHECKING:
    from studio_cas.chunking.parameters import ChunkingParameters
    from studio_cas.chunking.profile import Cutting


def chunk_lengths(data: memoryview, start: int, cutting: Cutting, parameters: ChunkingParameters) -> list[int]:
    """The lengths of the chunks of `data` that certainly end inside it; `start`, its offset, begins a chunk."""
    lengths: list[int] = []
    at = 0
    for region_end in cutting.regions[bisect_right(cutting.regions, start) :]:
        left = region_end - start - at
        piece = data[at : at + left]
        if cutting.profile is Profile.FIXED:
            lengths += equal_pieces(left, len(piece), parameters.fixed, 1)
        elif parameters.tensor and region_end in cutting.equal:
            lengths += equal_pieces(left, len(piece), parameters.tensor, parameters.minimum)
        else:
            lengths += _by_content(piece, parameters, cutting.profile, ends=len(piece) == left)
        at += left
        if at >= len(data):
            break
    return lengths


def equal_pieces(left: int, available: int, size: int, least: int) -> list[int]:
    """Pieces of `size` of the `left` bytes of a region; fewer than `least` at its end belong to the piece before.

    Only those within the first `available` bytes.
    """
    if available == left:
        whole, rest = divmod(left, size)
        if 0 < rest < least and whole:
            return [size] * (whole - 1) + [size + rest]
        return [size] * whole + [rest] * bool(rest)
    whole = available // size
    if 0 < left - whole * size < least:
        whole -= 1  # the last one goes on to the end
    return [size] * whole


def _by_content(piece: memoryview, parameters: ChunkingParameters, profile: Profile, *, ends: bool) -> list[int]:
    used = parameters.finer() if profile is Profile.LOG else parameters
    lengths = cutter(used)(piece)
    return lengths if ends or lengths[-1] == used.maximum else lengths[:-1]
