"""The body of an upload: the name and checksum of an object, and its content, in one multipart request.

gcsfs separates the two with a fixed boundary, and content that holds this boundary is stored cut short. Here it is
random. The parts of the content are sent as they are, never joined: a pack of 48 MiB costs 1 MiB of memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
from aiohttp.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aiohttp.abc import AbstractStreamWriter

    from studio_cas.ids import Buffer

_BLOCK: Final = 1 << 20


class Multipart(Payload):
    """A `multipart/related` body for a new object `name`. May be sent once more after a failure."""

    _autoclose = True  # nothing but memory is held

    def __init__(self, name: str, parts: Sequence[Buffer]) -> None:
        boundary = secrets.token_hex(16)
        self.content_size = sum(len(part) for part in parts)
        self.checksum = checksum(parts)
        about = json.dumps({"name": name, **self.checksum})
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        super().__init__((head, *parts, tail), content_type=f"multipart/related; boundary={boundary}")
        self._size = len(head) + self.content_size + len(tail)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send everything; called by aiohttp."""
        for block in blocks(self._value):
            await writer.write(block)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Text for debugging; demanded by aiohttp's base class."""
        return b"".join(self._value).decode(encoding, errors)

    def arrived_whole(self, answer: Mapping[str, Any]) -> bool:
        """Whether the service says it has what was sent: its size, and its checksum where it gives one."""
        if int(answer.get("size", -1)) != self.content_size:
            return False
        return all(answer.get(name, value) == value for name, value in self.checksum.items())


def checksum(parts: Sequence[Buffer]) -> dict[str, str]:
    """The checksum of the concatenation, under the name that the service gives it.

    The service compares it before the object becomes visible. CRC32C in C runs at several GB/s; where only its
    Python version is there, MD5 is 100 times faster.
    """
    if google_crc32c.implementation == "python":
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            digest.update(part)
        return {"md5Hash": base64.b64encode(digest.digest()).decode()}
    crc = 0
    for block in blocks(parts):
        crc = google_crc32c.extend(crc, bytes(block))  # it takes no views
    return {"crc32c": base64.b64encode(crc.to_bytes(4, "big")).decode()}


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
