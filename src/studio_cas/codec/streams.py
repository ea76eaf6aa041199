"""Whole streams, compressed and decompressed piece by piece: what archives that leave or enter the store are made of.

Equal bytes give equal streams: no time, no name and no number of threads goes into one.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

import zstandard

from studio_cas.codec.zstd import DENSE_LEVEL
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

GZIP_LEVEL = 6
GZIP_WINDOW = 31  # the largest window, in the format of gzip, whose header has no time and no name
WINDOW_LIMIT = 128 * 1024 * 1024  # what `zstd --long=27` makes; memory of a reader
READ_SIZE = 256 * 1024


class Compressor(Protocol):
    """Takes plain bytes, and gives what there is of the stream so far."""

    def compress(self, data: Buffer, /) -> bytes:
        """The next piece of the stream, which may be empty."""
        ...

    def flush(self) -> bytes:
        """The last piece."""
        ...


def gzip_compressor(level: int = GZIP_LEVEL) -> Compressor:
    """A stream of gzip without a time or a name in its header."""
    return zlib.compressobj(level, zlib.DEFLATED, GZIP_WINDOW)


def zstd_compressor(level: int = DENSE_LEVEL) -> Compressor:
    """A stream of zstd with a checksum."""
    compressor: Compressor = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
    return compressor


class ZstdReader:
    """The plain bytes of a zstd stream, one frame or several, read from `source` as they are asked for.

    A stream that was cut short just ends: what is in it has to say where it is complete.
    """

    def __init__(self, source: BinaryIO) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
        self._reader = decompressor.stream_reader(source, read_size=READ_SIZE, read_across_frames=True)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. Raises CorruptError."""
        try:
            plain: bytes = self._reader.read(size)
        except zstandard.ZstdError as error:
            message = f"its zstd stream is damaged: {error}"
            raise CorruptError(message) from error
        return plain
