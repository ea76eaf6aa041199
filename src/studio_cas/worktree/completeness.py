"""Formats that know their own length: is a checkpoint file complete?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.chunking import tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    ReadAt = Callable[[int, int], bytes]

ZIP_TAIL = 0xFFFF + 22
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF5_END_AT = {0: 40, 1: 44, 2: 28, 3: 28}  # by version of the superblock, with offsets of 8 bytes
_HDF5_SIZE_OF_OFFSETS_AT = {0: 13, 1: 13, 2: 9, 3: 9}
_HDF5_FLAGS_AT = {0: 20, 1: 20, 3: 11}
_HDF5_OPEN_FOR_WRITING = 1


def probe(name: bytes, size: int, read_at: ReadAt) -> bool | None:
    """Whether the file is complete; None where its format does not say."""
    lower = name.lower()
    if lower.endswith(b".safetensors"):
        return _safetensors(size, read_at)
    if read_at(0, 4) == tensor.ZIP_LOCAL_MAGIC:
        start = max(0, size - ZIP_TAIL)
        return b"PK\x05\x06" in read_at(start, size - start)
    if read_at(0, 8) == HDF5_MAGIC:
        return _hdf5(size, read_at)
    if lower.endswith((b".pt", b".pth", b".ckpt", b".npz")) and size == 0:
        return False
    return None


def _safetensors(size: int, read_at: ReadAt) -> bool:
    """Whether the header is sound, and the last tensor ends where the file does."""
    spans = tensor.safetensors_spans(size, read_at)
    if spans is None:
        return False
    return max((end for _, end in spans), default=8 + int.from_bytes(read_at(0, 8), "little")) == size


def _hdf5(size: int, read_at: ReadAt) -> bool | None:
    """The superblock (HDF5 file format specification 3.0, II.A) names the end of the file, and who has it open.

    None where nothing is missing that it tells of: its end is the one of the last flush.
    """
    block = read_at(0, 64)
    version = block[8] if len(block) > 8 else -1
    at = _HDF5_END_AT.get(version, 0)
    if not at or len(block) < at + 8:
        return False
    if version in _HDF5_FLAGS_AT and block[_HDF5_FLAGS_AT[version]] & _HDF5_OPEN_FOR_WRITING:
        return False
    base = int.from_bytes(block[at - 16 : at - 8], "little")
    if block[_HDF5_SIZE_OF_OFFSETS_AT[version]] != 8 or base:
        return None
    return None if int.from_bytes(block[at : at + 8], "little") <= size else False
