"""A store in a folder of this machine (or of a network file system): one file an object, under its key.

An object is written to a temporary file in its final folder, synced, and linked to its name, which fails when the
name is taken: a reader sees a whole object or none, and of several writers one wins. The folder is synced last, so
that an object that was reported created survives a power cut. What a killed writer leaves has a name that begins
with a dot, which no key may; listings pass over it, and a later writer in that folder removes it.
"""

# Plain strings for paths: a Path for each object costs more than its system calls.
# ruff: noqa: PTH100, PTH102, PTH103, PTH106, PTH108, PTH112, PTH116, PTH120, PTH208

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import islice
from stat import S_ISDIR
from typing import TYPE_CHECKING, Final, TypeVar

from studio_cas.backends.base import ObjectStat
from studio_cas.backends.keycheck import check_folder, check_key, check_prefix
from studio_cas.backends.publish import publish
from studio_cas.errors import (
    NoSpaceError,
    NotFoundError,
    ObjectExistsError,
    PermissionDeniedError,
    StoreUnavailableError,
    StudioError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from studio_cas.ids import Buffer

T = TypeVar("T")
TEMPORARY: Final = ".new-"
ABANDONED_AFTER: Final = 86_400.0  # seconds; no writer takes a day for one object
_MAX_PARTS: Final = min(os.sysconf("SC_IOV_MAX"), 1024) if hasattr(os, "sysconf") else 16
_TRIES: Final = 10  # a collector may remove an empty folder just before we use it
_KINDS: Final[dict[int, type[StudioError]]] = {
    errno.ENOSPC: NoSpaceError,
    errno.EDQUOT: NoSpaceError,
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
    errno.EROFS: PermissionDeniedError,
}
_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})  # a folder is not an object


class LocalBackend:
    """The store in the folder `root`; see the module for how objects come to be."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        self._known: set[str] = set()  # folders that this process has made, or found and cleaned

    @property
    def url(self) -> str:
        """The folder's path."""
        return self._root

    @property
    def local(self) -> bool:
        """Reads cost no round trip."""
        return True

    def prepare(self) -> None:
        """Make the folder. Raises StoreUnavailableError or PermissionDeniedError."""
        try:
            os.makedirs(self._root, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            message = f"{self._root} can not be a store: {error.filename} is a file, not a folder"
            raise StoreUnavailableError(message) from error
        except OSError as error:
            raise _translated(error, f"the store {self._root} can not be made") from error

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """Write the object, and make it visible and durable in one step. Raises as the port says."""
        final = self._path(key)
        if os.path.lexists(final):
            raise self._exists(key)
        for left in reversed(range(_TRIES)):
            try:
                return self._create_in(os.path.dirname(final), final, parts)
            except FileExistsError:
                raise self._exists(key) from None
            except OSError as error:
                if error.errno != errno.ENOENT or not left:
                    raise _translated(error, f"{self._root}: {key} can not be written") from error
                self._known.clear()  # a folder on the way was removed
        return None

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes [offset, offset + length) of the object. Raises NotFoundError."""

        def part(fd: int) -> bytes:
            wanted = os.fstat(fd).st_size - offset if length is None else length
            return _read_fully(fd, max(0, wanted), offset)

        return self._with_file(key, part)

    def read_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes, and the whole size. Raises NotFoundError."""

        def tail(fd: int) -> tuple[bytes, int]:
            size = os.fstat(fd).st_size
            start = max(0, size - length)
            return _read_fully(fd, size - start, start), size

        return self._with_file(key, tail)

    def stat(self, key: str) -> ObjectStat:
        """Size and time of creation. Raises NotFoundError."""
        found = self._with_file(key, os.fstat)
        if S_ISDIR(found.st_mode):
            raise self._missing(key)
        return ObjectStat(key, found.st_size, found.st_mtime)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """Objects that begin with `prefix`, in order; reads one folder at a time, and only what is consumed."""
        folder, _, stem = check_prefix(prefix).rpartition("/")
        return islice(self._walk(f"{folder}/" if folder else "", stem), limit)

    def list_names(self, prefix: str) -> Iterator[str]:
        """The distinct next segments below `prefix`, in order.

        A folder whose first object is just being written (or never was, its writer killed) counts as a name.
        """
        return iter(sorted(filter(_is_visible, self._names(check_folder(prefix), ""))))

    def delete(self, key: str) -> None:
        """Remove the object, and the folders that it leaves empty. Raises NotFoundError, PermissionDeniedError."""
        path = self._path(key)
        if os.path.isdir(path):  # `unlink` of a folder says EPERM on some systems
            raise self._missing(key)
        try:
            os.unlink(path)
        except OSError as error:
            raise self._refused(error, key, "can not be deleted") from error
        self._drop_empty(os.path.dirname(path))

    def close(self) -> None:
        """Nothing is kept open."""

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _exists(self, key: str) -> ObjectExistsError:
        return ObjectExistsError(f"{self._root}: {key} exists already")

    def _missing(self, key: str) -> NotFoundError:
        return NotFoundError(f"{self._root}: there is no object {key}")

    def _refused(self, error: OSError, key: str, what: str) -> StudioError:
        """Our error for the system's, when an existing object was asked for."""
        return self._missing(key) if error.errno in _MISSING else _translated(error, f"{self._root}: {key} {what}")

    def _with_file(self, key: str, work: Callable[[int], T]) -> T:
        """What `work` gives for the object's file, opened for the moment.

        Opening costs 2 µs, and 8 MiB ranges arrive at the speed of memcpy: keeping descriptors is not worth the code.
        """
        path = self._path(key)
        try:
            fd = os.open(path, os.O_RDONLY)
            try:
                return work(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._refused(error, key, "can not be read") from error

    def _create_in(self, folder: str, final: str, parts: Sequence[Buffer]) -> None:
        """Write `parts` beside `final`, then give them that name. On any error nothing of them is left."""
        self._make_folder(folder)
        temporary = f"{folder}/{TEMPORARY}{os.urandom(8).hex()}"
        try:
            _write_synced(temporary, parts)
            publish(temporary, final)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            self._drop_empty(folder)
            raise
        _sync_folder(folder)

    def _make_folder(self, folder: str) -> None:
        """Make `folder` and its parents durably, once a process; where it was there, clean it."""
        if folder in self._known:
            return
        if os.path.isdir(folder):
            _remove_abandoned(folder)
        else:
            parent = os.path.dirname(folder)
            if len(parent) < len(folder):
                self._make_folder(parent)
            with suppress(FileExistsError):
                os.mkdir(folder)
            _sync_folder(parent)
        self._known.add(folder)

    def _drop_empty(self, folder: str) -> None:
        """Remove `folder` and its parents inside the store, as far as they are empty."""
        with suppress(OSError):
            while len(folder) > len(self._root):
                os.rmdir(folder)
                self._known.discard(folder)
                folder = os.path.dirname(folder)

    def _names(self, folder: str, stem: str) -> Sequence[str]:
        """What `folder` ("" or ending in "/") holds whose name begins with `stem`; nothing where it is missing."""
        try:
            names = os.listdir(f"{self._root}/{folder}")
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _translated(error, f"{self._root}: {folder or 'the store'} can not be listed") from error
        return [name for name in names if name.startswith(stem)] if stem else names

    def _walk(self, folder: str, stem: str) -> Iterator[ObjectStat]:
        """Objects below `folder` whose key continues with `stem`, in order of key.

        A folder's name is met again with its slash, so that `a-b` comes before `a/b`. The names are not sorted, and
        nobody asks beforehand which are folders: often only the first one of 100,000 is wanted.
        """
        heap = list(self._names(folder, stem))
        heapify(heap)
        while heap:
            name = heappop(heap)
            if name.endswith("/"):
                yield from self._walk(folder + name, "")
            elif _is_visible(name):
                with suppress(FileNotFoundError):  # deleted since the folder was read
                    found = os.stat(f"{self._root}/{folder}{name}")
                    if S_ISDIR(found.st_mode):
                        heappush(heap, f"{name}/")
                    else:
                        yield ObjectStat(folder + name, found.st_size, found.st_mtime)


def _is_visible(name: str) -> bool:
    return not name.startswith(".")


def _write_synced(path: str, parts: Sequence[Buffer]) -> None:
    """A new file with `parts`, on the disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_fully(fd, parts)
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_fully(fd: int, parts: Sequence[Buffer]) -> None:
    """Write all parts, without joining them; `writev` takes a limited number, and may stop in the middle of one."""
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    first = 0
    while first < len(views):
        written = os.writev(fd, views[first : first + _MAX_PARTS])
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]


def _read_fully(fd: int, length: int, offset: int) -> bytes:
    """Bytes [offset, offset + length), fewer at the end of the file; one `pread` nearly always."""
    piece = os.pread(fd, length, offset)
    if len(piece) == length or not piece:
        return piece
    pieces = [piece]
    while piece:
        length, offset = length - len(piece), offset + len(piece)
        piece = os.pread(fd, length, offset)
        pieces.append(piece)
    return b"".join(pieces)


def _sync_folder(folder: str) -> None:
    """Put the names in `folder` on the disk; without effect where the file system can not sync a folder."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


def _remove_abandoned(folder: str) -> None:
    """Remove what killed writers left in `folder` more than a day ago."""
    oldest = time.time() - ABANDONED_AFTER
    with os.scandir(folder) as entries, suppress(OSError):
        for entry in entries:
            if entry.name.startswith(TEMPORARY) and entry.stat().st_mtime < oldest:
                with suppress(OSError):
                    os.unlink(entry.path)


def _translated(error: OSError, what: str) -> StudioError:
    """Our error for the system's; anything unknown means that the store is not usable."""
    kind = _KINDS.get(error.errno or 0, StoreUnavailableError)
    return kind(f"{what}: {error.strerror or error}")
