"""The body of an upload, sent from its parts as they are: a pack of 48 MiB costs 1 MiB of memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Final

from aiohttp.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiohttp.abc import AbstractStreamWriter

    from studio_cas.ids import Buffer

_BLOCK: Final = 1 << 20
WATCHED: Final = 1 << 16  # of which one after another must get away in time, so that a slow line is no dead one
_PATIENCE: Final = 60.0


class Parts(Payload):
    """The concatenation of `parts`, as aiohttp sends it. May be sent once more after a failure.

    `patience`: seconds that nothing at all is taken from us until it counts as lost; aiohttp has no limit of its own
    for a peer that is there and does not read.
    """

    _autoclose = True  # nothing but memory is held

    def __init__(
        self, parts: Sequence[Buffer], content_type: str = "application/octet-stream", patience: float = _PATIENCE
    ) -> None:
        super().__init__(parts, content_type=content_type)
        self._patience = patience
        self._size = sum(len(part) for part in parts)

    @property
    def parts(self) -> Sequence[Buffer]:
        """What is sent, piece by piece."""
        pieces: Sequence[Buffer] = self._value
        return pieces

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send everything; called by aiohttp. Raises TimeoutError."""
        for block in blocks(self._value):
            view = memoryview(block)
            for start in range(0, len(view), WATCHED):
                async with asyncio.timeout(self._patience):
                    await writer.write(view[start : start + WATCHED])

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Text for debugging; demanded by aiohttp's base class."""
        return b"".join(self._value).decode(encoding, errors)


def blocks(parts: Sequence[Buffer]) -> Iterator[Buffer]:
    """The concatenation of `parts` in pieces of about 1 MiB: small ones joined, large ones cut without a copy."""
    gathered: list[Buffer] = []
    size = 0
    for part in parts:
        view = memoryview(part).cast("B") if len(part) else memoryview(b"")
        for start in range(0, len(view), _BLOCK):
            gathered.append(view[start : start + _BLOCK])
            size += len(gathered[-1])
            if size >= _BLOCK:
                yield gathered[0] if len(gathered) == 1 else b"".join(gathered)
                gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


def md5(parts: Sequence[Buffer]) -> str:
    """The checksum that every service compares before the object becomes visible; the newer ones are not everywhere."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return base64.b64encode(digest.digest()).decode()
