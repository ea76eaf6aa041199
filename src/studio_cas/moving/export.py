"""Export: a version, or a part of it, becomes an archive, streamed from its chunks.

In a file it appears whole, by one rename, or not at all; a stream that cannot go on is left so that no reader takes it
for a whole archive.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from studio_cas.errors import ConflictError
from studio_cas.moving.archives import open_archive
from studio_cas.progress import Silent
from studio_cas.worktree.fetch import local_errors
from studio_cas.worktree.ignore import PARTIAL_SUFFIX
from studio_cas.worktree.listing import EntryHead
from studio_cas.worktree.pulling import Pull
from studio_cas.worktree.selection import Selection
from studio_cas.worktree.streaming import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from studio_cas.formats.version import Version
    from studio_cas.ids import Buffer
    from studio_cas.moving.archives import Kind, Write
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store

BUFFER_SIZE = 1024 * 1024
TRIES = 10


@dataclass(frozen=True, slots=True)
class Exported:
    """What went into an archive; `size` counts plain bytes of files, `written` the bytes of the archive."""

    entries: int
    files: int
    size: int
    written: int


def export(
    store: Store,
    version: Version,
    write: Write,
    kind: Kind,
    *,
    path: bytes = b"",
    mtime: int | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write `version`, or what of it is at and below `path`, as an archive of `kind`, entries in order of path.

    Names are relative to `path`; a file is its last part. With `mtime`, in seconds, every entry has that time.
    Raises NotFoundError (no such path), CorruptError and RefusedError; nothing that is not verified was written then,
    and `write` has got no whole archive.
    """
    pull = Pull(store, version, Selection(path), "allow", progress or Silent())
    pull.single_name()  # whether there is such a path, before anything is written
    sink = _Sink(write)
    archive = open_archive(kind, sink.write, mtime)
    entries = files = size = 0
    pull.progress.start(f"export {version.name}", None if path else version.size)
    try:
        for item in stream(pull):
            if isinstance(item, EntryHead):
                archive.begin(item)
                entries += 1
                files += item.kind == "file"
                size += item.size
                pull.progress.advance(0, int(item.kind == "file"))
            else:
                archive.data(item)
                pull.progress.advance(len(item))
        archive.finish()
        sink.flush()
    except BaseException:
        if not sink.failed:
            archive.abandon()
            sink.flush()
        raise
    finally:
        pull.progress.finish()
    return Exported(entries, files, size, sink.written)


class _Sink:
    """Gathers small pieces into larger ones, and counts."""

    def __init__(self, write: Write) -> None:
        self._target = write
        self._held: list[Buffer] = []
        self._size = 0
        self.written = 0
        self.failed = False

    def write(self, piece: Buffer) -> None:
        self._held.append(piece)
        self._size += len(piece)
        if self._size >= BUFFER_SIZE:
            self.flush()

    def flush(self) -> None:
        held, self._held, self._size = self._held, [], 0
        try:
            for piece in held if len(held) < 4 else [b"".join(held)]:
                self._target(piece)
                self.written += len(piece)
        except BaseException:
            self.failed = True
            raise


def export_to_file(target: Path, export_to: Callable[[Write], Exported], *, force: bool = False) -> Exported:
    """Run `export_to` with a file beside `target`, which becomes `target` by one rename when the archive is whole.

    Raises ConflictError where `target` is there (without `force`), or another export to it is under way; LocalIOError
    and NoSpaceError; and what `export_to` raises, with nothing left.
    """
    with local_errors(target):
        if target.exists() and not target.is_file() and not target.is_dir():  # a device, a pipe
            with target.open("wb", buffering=0) as device:
                return export_to(writer(device))
        _check_absent(target, force=force)
        with _partial(target) as (path, file):
            made = export_to(writer(file))
            _check_absent(target, force=force)
            path.replace(target)
        return made


def _check_absent(target: Path, *, force: bool) -> None:
    if target.is_dir():
        message = f"{target} is a folder: name the file to write"
        raise ConflictError(message)
    if os.path.lexists(target) and not force:
        message = f"{target} is there already: name another file, or use --force to replace it"
        raise ConflictError(message)


@contextmanager
def _partial(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The locked, empty file in which the archive is made, gone after an error; what a kill left is used again."""
    path = target.with_name(f".{target.name}{os.fsdecode(PARTIAL_SUFFIX)}")
    with _locked(path, target) as file:
        file.truncate(0)
        try:
            yield path, file
        except BaseException:
            path.unlink()
            raise


def _locked(path: Path, target: Path) -> BinaryIO:
    for _ in range(TRIES):  # its owner may finish at any moment, and rename it
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        file = os.fdopen(fd, "wb", buffering=0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
                return file
        except BlockingIOError:
            file.close()
            break
        except BaseException:
            file.close()
            raise
        file.close()
    message = f"another export to {target} is under way: wait for it, or name another file"
    raise ConflictError(message)


def writer(file: BinaryIO) -> Write:
    """A function that writes all of what it is given."""

    def write(piece: Buffer) -> None:
        view = memoryview(piece)
        while view:
            view = view[file.write(view) :]

    return write
