"""The parameters of chunking, frozen in a store's format.json."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ChunkingParameters:
    """Sizes in bytes: of content-defined chunks; of those of files that are rewritten in place; of those of tensors.

    With `tensor` 0 tensors are cut by content.
    """

    minimum: int = 64 * 1024
    average: int = 256 * 1024
    maximum: int = 1024 * 1024
    fixed: int = 64 * 1024
    tensor: int = 512 * 1024

    def finer(self) -> ChunkingParameters:
        """A quarter of each: for logs, whose last chunk is stored again each time they grow."""
        return replace(self, minimum=self.minimum // 4, average=self.average // 4, maximum=self.maximum // 4)


DEFAULT = ChunkingParameters()
