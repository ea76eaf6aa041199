"""The body of an upload to S3: botocore reads it where it has to sign it, aiohttp sends it without joining it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from studio_cas.backends.upload import Parts, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio_cas.ids import Buffer


class Body(Parts):
    """The parts as a file that can be read once more after a seek to its begin."""

    def __init__(self, parts: Sequence[Buffer]) -> None:
        super().__init__(parts)
        self._position = 0
        self._blocks = blocks(parts)

    def __len__(self) -> int:
        return self._size or 0

    def __bool__(self) -> bool:  # also where it is empty: it is a body
        return True

    def read(self, size: int | None = None) -> Buffer:
        """The next block, of about 1 MiB; everything where no size is given; nothing at the end."""
        if size is None or size < 0:
            piece: Buffer = b"".join(self._blocks)
        else:
            piece = next(self._blocks, b"")
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """To the begin, or to where it is: botocore wants no more."""
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self)}[whence]
        if target == 0:
            self._position, self._blocks = 0, blocks(self._value)
        elif target != self._position:
            raise OSError("this body is only read from its begin")
        return target

    def tell(self) -> int:
        """The bytes that were read."""
        return self._position
