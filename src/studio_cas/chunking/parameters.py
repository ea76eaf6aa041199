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

    def finer(self) -> ChunkingParameters:
        """A quarter of each: for logs, whose last chunk is stored again each time they grow."""
        return ChunkingParameters(self.minimum // 4, self.average // 4, self.maximum // 4, self.fixed)


DEFAULT = ChunkingParameters()
