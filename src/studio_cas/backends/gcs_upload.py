"""The body of an upload: the name and checksum of an object, and its content, in one multipart request.

gcsfs separates the two with a fixed boundary, and content that holds this boundary is stored cut short. Here it is
random.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

import google_crc32c

from studio_cas.backends.upload import Parts, blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from studio_cas.ids import Buffer


class Multipart(Parts):
    """A `multipart/related` body for a new object `name`. May be sent once more after a failure.

    `patience` as in Parts.
    """

    def __init__(self, name: str, parts: Sequence[Buffer], patience: float = 60.0) -> None:
        boundary = secrets.token_hex(16)
        self.content_size = sum(len(part) for part in parts)
        self.checksum = checksum(parts)
        about = json.dumps({"name": name, **self.checksum})
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        super().__init__((head, *parts, tail), f"multipart/related; boundary={boundary}", patience)

    def arrived_whole(self, answer: Mapping[str, Any]) -> bool:
        """Whether the service says it has what was sent: its size, and its checksum where it gives one."""
        if str(answer.get("size")) != str(self.content_size):
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
