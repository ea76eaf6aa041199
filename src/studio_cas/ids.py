"""Ids, and the only use of BLAKE3: `bytes` subclasses, as fast as bytes in a dict, and distinct for mypy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | bytearray | memoryview

DIGEST_SIZE = 32
PACK_ID_SIZE = 16


class _Id(bytes):
    __slots__ = ()
    size = DIGEST_SIZE

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id written as hexadecimal `text`. Raises ValueError when it is not one."""
        raw = bytes.fromhex(text)
        if len(raw) != cls.size:
            message = f"{text!r} is not a {cls.__name__}: {cls.size * 2} hexadecimal digits are expected"
            raise ValueError(message)
        return cls(raw)

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()[:12]})"


class ChunkId(_Id):
    """BLAKE3-256 of a chunk's plain bytes."""

    __slots__ = ()


class LeafId(_Id):
    """BLAKE3-256 of a leaf's logical part."""

    __slots__ = ()


class ManifestId(_Id):
    """BLAKE3-256 of a root's logical part: equal trees have equal ids on every machine."""

    __slots__ = ()


class RecordId(_Id):
    """BLAKE3-256 of a version record, as its bytes lie in the store."""

    __slots__ = ()


class PackId(_Id):
    """128 random bits; never used twice, never derived from content."""

    __slots__ = ()
    size = PACK_ID_SIZE

    @classmethod
    def random(cls) -> Self:
        """A new pack id."""
        return cls(os.urandom(PACK_ID_SIZE))


def digest(data: Buffer) -> bytes:
    """BLAKE3-256 of `data`, 32 bytes."""
    return blake3(data).digest()


def hasher() -> Callable[[Buffer], bytes]:
    """The fastest callable from bytes to a raw 32-byte digest, for inner loops."""
    return digest
