"""zstd frames, one context a thread and level. The declared size is checked before anything is allocated."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import zstandard

from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

FAST_LEVEL = 1
DENSE_LEVEL = 3
GROUP_LEVEL = 1
_contexts = threading.local()


def compress(data: Buffer, level: int = FAST_LEVEL, *, checksum: bool = False) -> bytes:
    """One frame that declares its size; with a checksum where nothing else would notice a flipped bit."""
    compressors: dict[tuple[int, bool], Any] = _contexts.__dict__.setdefault("compressors", {})
    compressor = compressors.get((level, checksum))
    if compressor is None:
        compressor = compressors[level, checksum] = zstandard.ZstdCompressor(level=level, write_checksum=checksum)
    compressed: bytes = compressor.compress(data)
    return compressed


def compress_plane(data: Buffer) -> bytes:
    """One frame for bytes with skewed frequencies and no repeats: entropy coding, hardly any search."""
    compressor = getattr(_contexts, "plane", None)
    if compressor is None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            1, strategy=zstandard.STRATEGY_FAST, min_match=7, hash_log=6, window_log=18
        )
        compressor = _contexts.plane = zstandard.ZstdCompressor(compression_params=parameters)
    compressed: bytes = compressor.compress(data)
    return compressed


def decompress(frame: Buffer, size: int) -> bytes:
    """The `size` bytes of `frame`. Raises CorruptError when it holds or declares anything else."""
    decompressor = getattr(_contexts, "decompressor", None)
    if decompressor is None:
        decompressor = _contexts.decompressor = zstandard.ZstdDecompressor()
    try:
        declared = zstandard.get_frame_parameters(frame).content_size
        if declared != size:
            message = f"a zstd frame declares {declared} bytes where {size} are expected"
            raise CorruptError(message)
        if size == 0:
            return b""
        plain: bytes = decompressor.decompress(frame)
    except (zstandard.ZstdError, MemoryError) as error:
        message = f"a zstd frame is damaged: {error}"
        raise CorruptError(message) from error
    if len(plain) != size:
        message = f"a zstd frame holds {len(plain)} bytes where {size} are expected"
        raise CorruptError(message)
    return plain
