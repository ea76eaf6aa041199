"""Where an import reads from: a folder of this machine or a bucket, seen as names with sizes and stamps.

The one place that opens foreign data. Nothing is ever written there.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from studio_cas.errors import LocalIOError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.backends.base import Backend

READ_AHEAD = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A file or object. `name` is relative, with `/`; `time` in seconds since the epoch, of its last change."""

    name: str
    size: int
    time: float

    @property
    def stamp(self) -> str:
        """Changes when the file does."""
        return f"{self.size}-{self.time:.6f}"


class Origin(Protocol):
    """Files below one place."""

    @property
    def url(self) -> str:
        """The place, for messages and for what is remembered of it."""
        ...

    @property
    def folder(self) -> Path | None:
        """The folder of this machine that it is, else None."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """The distinct next segments below `prefix`, which ends in `/` or is empty, ascending."""
        ...

    def list(self, prefix: str = "") -> Iterator[Found]:
        """All files below `prefix`, ascending."""
        ...

    def find(self, name: str) -> Found:
        """One file. Raises NotFoundError."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Its bytes, at any offset. Raises NotFoundError, LocalIOError, or what the store raises."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class FolderOrigin:
    """A folder of this machine. Links in it are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def url(self) -> str:
        """Its path."""
        return str(self._folder)

    @property
    def folder(self) -> Path | None:
        """Itself."""
        return self._folder

    def names(self, prefix: str = "") -> list[str]:
        """The names in a folder of it; none where there is no such folder."""
        with _local_errors():
            try:
                return sorted(os.listdir(self._folder / prefix))  # noqa: PTH208 (names, not paths)
            except (FileNotFoundError, NotADirectoryError):
                return []

    def list(self, prefix: str = "") -> Iterator[Found]:
        """All regular files below `prefix`."""
        for name in self.names(prefix):
            path = self._folder / prefix / name
            if path.is_symlink():
                continue
            if path.is_dir():
                yield from self.list(f"{prefix}{name}/")
            elif path.is_file():
                yield self.find(f"{prefix}{name}")

    def find(self, name: str) -> Found:
        """Size and time of a file."""
        path = self._folder / name
        with _local_errors():
            if not path.resolve().is_relative_to(self._folder.resolve()):  # a record or a list may name anything
                raise NotFoundError(f"{path} lies outside of {self._folder}")
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise NotFoundError(f"there is no file {path}") from error
        if not stat.S_ISREG(status.st_mode):
            raise NotFoundError(f"{path} is no file")
        return Found(name, status.st_size, status.st_mtime_ns / 1e9)

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        self.find(name)
        with _local_errors():
            return (self._folder / name).open("rb")

    def close(self) -> None:
        """Nothing is held."""


class BucketOrigin:
    """The objects below a prefix of a bucket, read in ranges through the port of stores, with its retries."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def url(self) -> str:
        """Of the bucket."""
        return self._backend.url

    @property
    def folder(self) -> Path | None:
        """None."""
        return None

    def names(self, prefix: str = "") -> list[str]:
        """The next segments; one question a thousand names."""
        return list(self._backend.list_names(prefix))

    def list(self, prefix: str = "") -> Iterator[Found]:
        """All objects below `prefix`."""
        for found in self._backend.list(prefix):
            yield Found(found.key, found.size, found.created)

    def find(self, name: str) -> Found:
        """Size and time of an object."""
        found = self._backend.stat(name)
        return Found(found.key, found.size, found.created)

    def open(self, name: str) -> BinaryIO:
        """A view of an object that reads some MiB at a time."""
        return io.BufferedReader(_Ranges(self._backend, name, self.find(name).size), READ_AHEAD)

    def close(self) -> None:
        """Close the connections."""
        self._backend.close()


class _Ranges(io.RawIOBase):
    """An object as a file that can be read and sought in."""

    def __init__(self, backend: Backend, name: str, size: int) -> None:
        super().__init__()
        self._backend = backend
        self._key = name
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The offset."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes, fewer at the end."""
        wanted = min(len(buffer), max(0, self._size - self._at))
        if not wanted:
            return 0
        data = self._backend.read(self._key, self._at, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def _local_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalIOError(f"{os.fsdecode(error.filename or '')} could not be read: {error.strerror}") from error
