"""Files that are written at once: one by one, or a batch of them by the compiled library."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from studio_cas import native
from studio_cas.formats.leaf import EntryKind
from studio_cas.worktree.scan import Row, open_below

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FILE = struct.Struct("=4q")  # studio_file of files.c


class WholeFile(NamedTuple):
    """A file that is written at once: where, how, and who is told its stat row (`arrived(position, row)`)."""

    root: int
    path: bytes
    kind: int
    mtime_ns: int
    arrived: Callable[[int, Row], None]
    position: int

    @property
    def mode(self) -> int:
        """As it is made; the umask of the process takes from it."""
        return 0o777 if self.kind == EntryKind.EXECUTABLE else 0o666

    def write(self, data: Any) -> None:
        """Make, fill and close the file. Raises OSError."""
        fd = open_below(self.root, self.path, CREATE, self.mode)
        try:
            written = os.write(fd, data)
            while written < len(data):
                written += os.write(fd, memoryview(data)[written:])
            os.utime(fd, ns=(self.mtime_ns, self.mtime_ns))
            status = os.fstat(fd)
        finally:
            os.close(fd)
        row = Row(
            self.path,
            self.kind,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            status.st_dev,
        )
        self.arrived(self.position, row)


def write_files(files: Sequence[WholeFile], offsets: Sequence[int], lengths: Sequence[int], data: memoryview) -> None:
    """Write each file: `lengths` bytes of `data`, from `offsets` on. Raises OSError with the path as its filename."""
    done = 0
    while done < len(files):
        done += _by_library(files[done:], offsets[done:], lengths[done:], data)
        if done < len(files):
            file, offset = files[done], offsets[done]
            try:
                file.write(data[offset : offset + lengths[done]])
            except OSError as error:
                error.filename = file.path
                raise
            done += 1


def _by_library(files: Sequence[WholeFile], offsets: Sequence[int], lengths: Sequence[int], data: memoryview) -> int:
    """How many of the files were written, before one that the library leaves to others."""
    library = native.library()
    if library is None:
        return 0
    count = len(files)
    wanted = b"".join(
        [
            _FILE.pack(offset, length, file.mtime_ns, file.mode)
            for file, offset, length in zip(files, offsets, lengths, strict=True)
        ]
    )
    rows = memoryview(bytearray(8 * native.COLUMNS * count))
    failure = ctypes.c_int()
    done: int = library.studio_write(
        files[0].root,
        count,
        b"\0".join([file.path for file in files]),
        wanted,
        native.address(data),
        native.address(rows),
        ctypes.byref(failure),
    )
    for file, *row in zip(files, *native.columns(rows, count, done), strict=False):
        file.arrived(file.position, Row(file.path, file.kind, *row))
    if failure.value:
        raise OSError(failure.value, os.strerror(failure.value), files[done].path)
    return done
