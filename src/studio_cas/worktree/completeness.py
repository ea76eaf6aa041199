"""Formats that know their own length: is a checkpoint file complete?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.chunking import tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    ReadAt = Callable[[int, int], bytes]

ZIP_TAIL = 0xFFFF + 22


def probe(name: bytes, size: int, read_at: ReadAt) -> bool | None:
    """Whether the file is complete; None where its format does not say."""
    lower = name.lower()
    if lower.endswith(b".safetensors"):
        return _safetensors(size, read_at)
    if read_at(0, 4) == tensor.ZIP_LOCAL_MAGIC:
        start = max(0, size - ZIP_TAIL)
        return b"PK\x05\x06" in read_at(start, size - start)
    if lower.endswith((b".pt", b".pth", b".ckpt", b".npz")) and size == 0:
        return False
    return None


def _safetensors(size: int, read_at: ReadAt) -> bool:
    """Whether the header is sound, and the last tensor ends where the file does."""
    spans = tensor.safetensors_spans(size, read_at)
    if spans is None:
        return False
    return max((end for _, end in spans), default=8 + int.from_bytes(read_at(0, 8), "little")) == size
