"""Walk a folder in the order of the manifest, and say of each path what the file system says of it.

Order: depth first, names ascending by byte, which is the order of paths compared component by component.
Only one folder is open at a time, and paths may be longer than the system takes at once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import threading
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from studio_cas import native
from studio_cas.formats.leaf import EntryKind
from studio_cas.worktree.ignore import PARTIAL_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from studio_cas.worktree.ignore import Ignored

    Report = Callable[[bytes, str], None]
    Columns = tuple[bytes, int, int, int, int, int, int]

PIECE = 3000
LISTED = 1024  # names that the library gives at once
NAMES = 256 * 1024  # bytes of them
OTHER = 255  # what is no plain file, as the library says it
_own = threading.local()
_TYPE, _REGULAR = 0o170000, 0o100000
_KIND = itemgetter(1)
_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Row(NamedTuple):
    """A path, and what stat says of it. Of folders only path and kind are told: nothing else of them is kept."""

    path: bytes
    kind: int
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    device: int = 0


def open_below(root: int, path: bytes, flags: int, mode: int = 0o666) -> int:
    """Open `path` below the open folder `root`, however long it is. Raises OSError."""
    try:
        return os.open(path, flags | os.O_CLOEXEC, mode, dir_fd=root)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG or len(path) <= PIECE:
            raise
    cut = path.rindex(b"/", 0, PIECE)
    folder = os.open(path[:cut], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        return open_below(folder, path[cut + 1 :], flags, mode)
    finally:
        os.close(folder)


@contextmanager
def parent_below(root: int, path: bytes, flags: int = 0) -> Iterator[tuple[int, bytes]]:
    """The open folder that `path`, however long, lies in below the open folder `root`, and its name there."""
    parent, _, name = path.rpartition(b"/")
    folder = open_below(root, parent or b".", os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        yield folder, name
    finally:
        os.close(folder)


def is_at(root: int, path: bytes, status: os.stat_result) -> bool:
    """Whether the file of `status` is the one at `path` below the open folder `root`, and no folder there is a link."""
    *parents, name = path.split(b"/")
    folder = os.dup(root)
    try:
        for parent in parents:
            below = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    finally:
        os.close(folder)
    return (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)


def row_of(path: bytes, status: os.stat_result) -> Row | None:
    """The row of a file or link, or None where it is something else."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind = EntryKind.EXECUTABLE if mode & stat.S_IXUSR else EntryKind.FILE
    elif stat.S_ISLNK(mode):
        kind = EntryKind.LINK
    elif stat.S_ISDIR(mode):
        return Row(path, EntryKind.FOLDER)
    else:
        return None
    return Row(path, kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def unreported(path: bytes, why: str) -> None:
    """A Report that says nothing."""


def scan(root: int, ignored: Ignored | None, pruned: set[tuple[int, int]], report: Report) -> Iterator[Row]:
    """Rows of everything below the open folder `root`.

    `pruned` are (device, inode) of folders to leave out; `report(path, why)` is told what cannot be captured.
    """
    return map(Row._make, scan_columns(root, ignored, pruned, report))


def scan_columns(root: int, ignored: Ignored | None, pruned: set[tuple[int, int]], report: Report) -> Iterator[Columns]:
    """As `scan`, with plain tuples in the place of rows: of a million files most are compared, and nothing else."""
    stack = [iter(_children(root, b"", ignored, pruned, report))]
    while stack:
        for row in stack[-1]:
            yield row
            if not row[1]:  # EntryKind.FOLDER
                children = _children(root, row[0], ignored, pruned, report)
                if all(map(_KIND, children)):  # no folder in it
                    yield from children
                else:
                    stack.append(iter(children))
                    break
        else:
            stack.pop()


def _children(
    root: int, folder: bytes, ignored: Ignored | None, pruned: set[tuple[int, int]], report: Report
) -> list[Columns]:
    try:
        opened = open_below(root, folder or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return []  # it went away; the next capture sees what came instead
    except OSError as error:
        report(folder, f"cannot be listed: {error.strerror}")
        return []
    prefix = folder + b"/" if folder else b""
    library = native.library() if len(prefix) < PIECE else None
    try:
        if library:
            rows = _rows_by_library(library, opened, prefix, pruned, report)
        else:
            rows = _rows(opened, prefix, pruned, report)
    except OSError as error:
        report(folder, f"cannot be listed: {error.strerror}")
        return []
    finally:
        os.close(opened)
    if ignored:
        rows = [row for row in rows if not ignored(row[0], row[1] == EntryKind.FOLDER)]
    rows.sort()
    return rows


def _rows(folder: int, prefix: bytes, pruned: set[tuple[int, int]], report: Report) -> list[Columns]:
    """The rows of one open folder, in no order. Written for speed: this loop is what a quiet capture costs."""
    rows: list[Columns] = []
    add = rows.append
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name.encode("utf-8", "surrogateescape")
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                report(path, f"cannot be read: {error.strerror}")
                continue
            mode = status.st_mode
            if mode & _TYPE == _REGULAR:
                add(
                    (
                        path,
                        2 if mode & 0o100 else 1,  # EntryKind.EXECUTABLE where the owner may execute it, else FILE
                        status.st_size,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                        status.st_ino,
                        status.st_dev,
                    )
                )
            elif (row := _other(path, status, pruned, report)) is not None:
                add((*row,))
    return rows


def _rows_by_library(
    library: ctypes.CDLL, folder: int, prefix: bytes, pruned: set[tuple[int, int]], report: Report
) -> list[Columns]:
    """The same, without an object and a hand-over of the interpreter lock for each file."""
    room = _room()
    opened = library.studio_list_begin(folder)
    if not opened:
        raise _error()
    rows: list[Columns] = []
    try:
        while count := library.studio_list(opened, prefix, LISTED, *room.begin()):
            if count < 0:
                raise OSError(-count, os.strerror(-count))
            found = list(room.columns(count))
            if OTHER in room.kinds[:count]:
                found = [row for one in found if (row := _looked_at(one, folder, prefix, pruned, report)) is not None]
            rows += found
    finally:
        library.studio_list_end(opened)
    return rows


def _looked_at(
    columns: Columns, folder: int, prefix: bytes, pruned: set[tuple[int, int]], report: Report
) -> Columns | None:
    """The row as it is, or of what is no plain file what the system says of it now; None where it is left out."""
    if columns[1] != OTHER:
        return columns
    path = columns[0]
    try:
        status = os.stat(path[len(prefix) :], dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        report(path, f"cannot be read: {error.strerror}")
        return None
    row = _other(path, status, pruned, report)
    return None if row is None else (*row,)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class _Room:
    """Where the library puts names and rows: one for each thread."""

    def __init__(self) -> None:
        self._names = memoryview(bytearray(NAMES))
        self._used = ctypes.c_size_t()
        self.kinds = bytearray(LISTED)
        self._rows = memoryview(bytearray(8 * native.COLUMNS * LISTED))
        names, kinds, rows = native.address(self._names), native.address(self.kinds), native.address(self._rows)
        self._places = [names, ctypes.byref(self._used), kinds, rows]

    def begin(self) -> list[Any]:
        """The places, as the function takes them."""
        self._used.value = NAMES
        return self._places

    def columns(self, count: int) -> Iterator[Columns]:
        """The `count` rows that were put there."""
        paths = bytes(self._names[: self._used.value - 1]).split(b"\0")
        return zip(paths, self.kinds, *native.columns(self._rows, LISTED, count), strict=False)


def _room() -> _Room:
    room: _Room | None = getattr(_own, "room", None)
    if room is None:
        room = _own.room = _Room()
    return room


def _other(path: bytes, status: os.stat_result, pruned: set[tuple[int, int]], report: Report) -> Row | None:
    """The row of what is not a regular file, or None where it is left out."""
    row = row_of(path, status)
    if row is None:
        report(path, f"is {_SPECIAL.get(stat.S_IFMT(status.st_mode), 'not a file')}, and is left out")
    elif row.kind == EntryKind.FOLDER and (
        path.endswith(PARTIAL_SUFFIX) or (pruned and (status.st_dev, status.st_ino) in pruned)
    ):
        return None
    return row
