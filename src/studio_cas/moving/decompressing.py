"""Open an archive whatever its name says: its compression is recognised by its first bytes.

A reader takes memory for its window only, however much comes out of it, and a stream that was cut short is an error.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from studio_cas.codec.streams import WINDOW_LIMIT, ZstdReader
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable

READ_SIZE = 256 * 1024
LAYERS = 3  # a file that was compressed by hand, and again by who uploaded it
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
DAMAGE = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class Readable(Protocol):
    """What gives bytes, and none at its end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""
        ...


class Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the stream ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether it has nothing to give without more."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""
        ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most `max_length` bytes."""
        ...


class _Gzip:
    """zlib's decompressor, as the others are."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))


def _xz() -> Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=WINDOW_LIMIT)


_MAGICS: tuple[tuple[bytes, Callable[[], Decompressor]], ...] = (
    (b"\x1f\x8b", _Gzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", _xz),
    (b"\x5d\0\0", _xz),  # .lzma, which has no better mark
)
_ZSTD = b"\x28\xb5\x2f\xfd"


class Streams:
    """The plain bytes of one compressed stream, or of several one after another."""

    def __init__(self, source: Readable, make: Callable[[], Decompressor]) -> None:
        self._source = source
        self._make = make
        self._stream = make()
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes. Raises CorruptError."""
        try:
            return self._read(size)
        except DAMAGE as error:
            message = f"its compressed stream is damaged: {error}"
            raise CorruptError(message) from error

    def _read(self, size: int) -> bytes:
        while not self._ended:
            data = b""
            if self._stream.eof:
                data = self._stream.unused_data or self._source.read(READ_SIZE)
                if not data.strip(b"\0"):  # some fill up with zeros
                    self._ended = True
                    break
                self._stream = self._make()
            elif self._stream.needs_input:
                data = self._source.read(READ_SIZE)
                if not data:
                    message = "its compressed stream ends early: was it cut short?"
                    raise CorruptError(message)
            if plain := self._stream.decompress(data, size):
                return plain
        return b""


class Peeked:
    """A source whose first bytes were looked at."""

    def __init__(self, source: Readable, size: int) -> None:
        self._source = source
        self.head = b""
        while len(self.head) < size and (piece := source.read(size - len(self.head))):
            self.head += piece
        self._left = self.head

    def read(self, size: int, /) -> bytes:
        """What was looked at, then the rest."""
        if self._left:
            piece, self._left = self._left[:size], self._left[size:]
            return piece
        return self._source.read(size)


def is_zip(file: BinaryIO) -> bool:
    """Whether a zip begins here; the file stands at its beginning afterwards."""
    head = file.read(4)
    file.seek(0)
    return head in ZIP_MAGICS


def plain_stream(file: BinaryIO) -> Peeked:
    """What is in `file`, with every compression around it taken off."""
    source: Any = file
    for _ in range(LAYERS):
        source = Peeked(source, 512)
        if source.head.startswith(_ZSTD):
            source = ZstdReader(source)
            continue
        make = next((make for magic, make in _MAGICS if source.head.startswith(magic)), None)
        if make is None:
            break
        source = Streams(source, make)
    return Peeked(source, 512)
