"""Unpack a tar, compressed in whatever way, or a zip, into an UnpackTree: member by member, as a stream.

A tar must end as tars do: one that was cut short between two members would else pass for a whole one. What a header may
make the library read at once is bounded.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from datetime import UTC, datetime
from functools import partial
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from studio_cas.errors import CorruptError, RefusedError
from studio_cas.moving.decompressing import is_zip, plain_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.moving.decompressing import Peeked
    from studio_cas.moving.unpack_tree import UnpackTree

PIECE = 1024 * 1024
BUFFER = 256 * 1024
HEADER_LIMIT = 4 * 1024 * 1024
LATEST = 2**33  # seconds; what file systems take
LINK_LIMIT = 16 * 1024
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # lzma would take what memory it names
TAR_DAMAGE = (tarfile.TarError, ValueError, OverflowError, RecursionError)  # a header may name the next one
ZIP_DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, ValueError)


def unpack(file: BinaryIO, tree: UnpackTree) -> None:
    """Fill `tree` with what is in `file`. Raises CorruptError (damaged, no archive), RefusedError (unsafe)."""
    if is_zip(file):
        try:
            _unzip(file, tree)
        except ZIP_DAMAGE as error:
            message = f"its zip is damaged: {error}"
            raise CorruptError(message) from error
    else:
        source = plain_stream(file)
        _check_tar(source)
        try:
            _untar(source, tree)
        except TAR_DAMAGE as error:
            message = f"its tar is damaged: {error}"
            raise CorruptError(message) from error
    tree.finish()


def _check_tar(source: Peeked) -> None:
    head = source.head
    try:
        if head.strip(b"\0"):
            tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        message = "it is neither a tar nor a zip"
        raise CorruptError(message) from error
    if not head:
        message = "it is empty"
        raise CorruptError(message)


class _Source:
    """Plain bytes of a tar, of which no more can be read than the next step may need."""

    def __init__(self, source: Peeked) -> None:
        self._source = source
        self._count = 0
        self._until = 0

    def allow(self, size: int) -> None:
        """Let `size` bytes be read from here on, and what is read ahead."""
        self._until = self._count + size + 2 * BUFFER

    def read(self, size: int, /) -> bytes:
        piece = self._source.read(size)
        self._count += len(piece)
        if self._count > self._until:
            message = f"a header in it is larger than {HEADER_LIMIT:,} bytes"
            raise RefusedError(message)
        return piece

    def drain(self) -> None:
        """Read to the end, where checksums are."""
        while self.read(BUFFER):
            pass


class _Member(tarfile.TarInfo):
    """A member whose damaged header is an error, where the library takes it for the end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Member:
        """The next header."""
        try:
            found = super().fromtarfile(tar)
        except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]  # typeshed lacks it
            message = "its tar has no end: was it cut short?"
            raise CorruptError(message) from error
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the same
            raise
        except tarfile.HeaderError as error:
            message = f"its tar is damaged: {error}"
            raise CorruptError(message) from error
        if found.size < 0:
            message = "its tar is damaged: a size is negative"
            raise CorruptError(message)
        return found


def _untar(peeked: Peeked, tree: UnpackTree) -> None:
    source = _Source(peeked)
    source.allow(HEADER_LIMIT)
    stream: Any = source
    with tarfile.open(fileobj=stream, mode="r|", bufsize=BUFFER, tarinfo=_Member, errorlevel=1) as tar:
        while True:
            source.allow(HEADER_LIMIT)
            member = tar.next()
            if member is None:
                break
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            source.allow(member.size + HEADER_LIMIT)
            _add(tar, member, tree)
        source.allow(HEADER_LIMIT)
        source.drain()


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, tree: UnpackTree) -> None:
    path = tree.member(os.fsencode(member.name))
    if member.isdir():
        tree.folder(path)
    elif member.issym():
        tree.link(path, os.fsencode(member.linkname))
    elif member.islnk():
        tree.again(path, tree.member(os.fsencode(member.linkname)))
    elif member.isreg():
        content = tar.extractfile(member)
        if content is None:
            raise tarfile.ReadError("a file has no content")
        moment = _nanoseconds(member.mtime)
        tree.file(path, _pieces(content), executable=bool(member.mode & stat.S_IXUSR), mtime_ns=moment)
    else:
        what = "a device" if member.ischr() or member.isblk() else "a FIFO" if member.isfifo() else "of unknown type"
        message = f"its member {member.name!r} is {what}"
        raise RefusedError(message)


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(PIECE):
        yield piece


def _unzipped(content: IO[bytes], limit: int = PIECE) -> bytes:
    """The next bytes of a member of a zip. Raises BadZipFile also where bz2 says OSError."""
    try:
        return content.read(limit)
    except OSError as error:
        if error.errno is not None:
            raise  # the disk that the archive lies on
        raise zipfile.BadZipFile(str(error)) from error


def _nanoseconds(seconds: float) -> int:
    """A time that file systems take; 0 for what is no time."""
    return int(min(seconds, LATEST) * 1_000_000_000) if seconds > 0 else 0


def _unzip(file: BinaryIO, tree: UnpackTree) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            _add_zipped(archive, info, tree)


def _add_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: UnpackTree) -> None:
    path = tree.member(info.filename.encode("utf-8", "surrogateescape"))
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if info.flag_bits & 1 or info.compress_type not in ZIP_METHODS:
        how = "encrypted" if info.flag_bits & 1 else "compressed in a way that is not read here"
        message = f"its member {info.filename!r} is {how}"
        raise RefusedError(message)
    if not path or info.is_dir():
        tree.folder(path)
    elif kind == stat.S_IFLNK:
        with archive.open(info) as content:
            target = _unzipped(content, LINK_LIMIT + 1)
        tree.count(len(target))
        tree.link(path, target)
    elif kind in {0, stat.S_IFREG}:
        moment = _nanoseconds(_zip_seconds(info))
        with archive.open(info) as content:
            pieces = iter(partial(_unzipped, content), b"")
            tree.file(path, pieces, executable=bool(mode & stat.S_IXUSR), mtime_ns=moment)
    else:
        message = f"its member {info.filename!r} is a device, or something else that is no file"
        raise RefusedError(message)


def _zip_seconds(info: zipfile.ZipInfo) -> float:
    """Its time, which has no zone, as UTC; 0 where it is none."""
    try:
        return datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
