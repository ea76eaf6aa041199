"""The parameters of chunking, frozen in a store's format.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChunkingParameters:
    """Sizes in bytes. `fixed` is the chunk size of files that are rewritten in place."""

    minimum: int = 64 * 1024
    average: int = 256 * 1024
    maximum: int = 1024 * 1024
    fixed: int = 64 * 1024


DEFAULT = ChunkingParameters()
