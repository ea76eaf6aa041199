"""Archives written as streams: tar in the PAX format, plain or compressed, and zip. Equal entries give equal bytes.

Owners are 0 and without names, modes are 0755 and 0644, times are whole seconds. A tar header is PAX where a plain one
cannot hold what it has to say: long names, names that are no UTF-8, files of 8 GiB and more. A zip is written as if it
could not be read again, so that a file and a pipe get the same bytes.
"""

from __future__ import annotations

import enum
import io
import os
import stat
import tarfile
import zipfile
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Protocol

from studio_cas.codec import streams
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio_cas.codec.streams import Compressor
    from studio_cas.ids import Buffer
    from studio_cas.worktree.listing import EntryHead

    Write = Callable[[Buffer], object]

MODES = {"folder": 0o755, "file": 0o644, "link": 0o777}
TYPES = {"folder": tarfile.DIRTYPE, "file": tarfile.REGTYPE, "link": tarfile.SYMTYPE}
BLOCK = tarfile.BLOCKSIZE
TORN = b"\xff" * 100  # no reader takes it for a header, nor for the end
ZIP_FIRST, ZIP_LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # the times that zip knows
ZIP_UNIX = 3


class Kind(enum.StrEnum):
    """The archives that can be written, by the endings of their names."""

    tar = "tar"
    tar_gz = "tar.gz"
    tar_zst = "tar.zst"
    zip = "zip"


class ArchiveWriter(Protocol):
    """Entries one after another; between `begin` of a file and the next one come its bytes."""

    def begin(self, entry: EntryHead) -> None:
        """The next entry."""
        ...

    def data(self, piece: Buffer) -> None:
        """The next bytes of the file that began last."""
        ...

    def finish(self) -> None:
        """No more entries: the archive is whole."""
        ...

    def abandon(self) -> None:
        """There will be no more: leave what no reader takes for a whole archive."""
        ...


def kind_of(name: str) -> Kind:
    """The kind that the name of a file asks for. Raises UsageError."""
    lower = name.lower()
    endings = {".tgz": Kind.tar_gz, ".tzst": Kind.tar_zst, **{f".{kind}": kind for kind in reversed(Kind)}}
    for ending, kind in endings.items():
        if lower.endswith(ending):
            return kind
    message = f"{name!r} does not say which archive it is to be: end it in .{', .'.join(Kind)}, or use --format"
    raise UsageError(message)


def open_archive(kind: Kind, write: Write, mtime: int | None = None) -> ArchiveWriter:
    """An archive of `kind` that goes to `write`; with `mtime` (seconds), every entry has that time."""
    match kind:
        case Kind.zip:
            return ZipWriter(write, mtime)
        case Kind.tar_gz:
            return TarWriter(write, mtime, streams.gzip_compressor())
        case Kind.tar_zst:
            return TarWriter(write, mtime, streams.zstd_compressor())
    return TarWriter(write, mtime)


def _seconds(entry: EntryHead, mtime: int | None) -> int:
    return entry.mtime_ns // 1_000_000_000 if mtime is None else mtime


def _mode(entry: EntryHead) -> int:
    return 0o755 if entry.executable else MODES[entry.kind]


class TarWriter:
    """A tar, through a compressor where there is one."""

    def __init__(self, write: Write, mtime: int | None, compressor: Compressor | None = None) -> None:
        self._target = write
        self._compressor = compressor
        self._mtime = mtime
        self._size = 0

    def _write(self, piece: Buffer) -> None:
        if self._compressor is not None:
            piece = self._compressor.compress(piece)
        if piece:
            self._target(piece)

    def begin(self, entry: EntryHead) -> None:
        """Write the header, PAX where it has to be."""
        self._pad(BLOCK)
        info = tarfile.TarInfo(os.fsdecode(entry.path))
        info.type = TYPES[entry.kind]
        info.mode = _mode(entry)
        info.size = entry.size if entry.kind == "file" else 0
        info.mtime = _seconds(entry, self._mtime)
        info.linkname = os.fsdecode(entry.target)
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def data(self, piece: Buffer) -> None:
        """Write bytes of a file."""
        self._size += len(piece)
        self._write(piece)

    def _pad(self, multiple: int) -> None:
        if left := self._size % multiple:
            self._write(bytes(multiple - left))
        self._size = 0

    def finish(self) -> None:
        """Write the end: two empty blocks."""
        self._pad(BLOCK)
        self._write(bytes(2 * BLOCK))
        if self._compressor is not None:
            self._target(self._compressor.flush())

    def abandon(self) -> None:
        """A stream that just ends is noticed where it is compressed; a plain tar needs a torn header for that."""
        if self._compressor is None:
            self._target(TORN)


class ZipWriter:
    """A zip with deflated members; one that cannot be read while it is written. Its table is kept until the end."""

    def __init__(self, write: Write, mtime: int | None) -> None:
        self._mtime = mtime
        self._file = _OneWay(write)
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)
        self._member: IO[bytes] | None = None

    def begin(self, entry: EntryHead) -> None:
        """Write the local header; folders and links are complete with it."""
        self._end_member()
        member = self._zip.open(self._info(entry), "w")
        if entry.kind == "file":
            self._member = member
            return
        with member:
            member.write(entry.target)

    def _info(self, entry: EntryHead) -> zipfile.ZipInfo:
        try:
            name = entry.path.decode() + ("/" if entry.kind == "folder" else "")
        except UnicodeDecodeError as error:
            message = f"{os.fsdecode(entry.path)!r} is not UTF-8, which a zip cannot hold: write a tar"
            raise UsageError(message) from error
        info = zipfile.ZipInfo(name, _zip_time(_seconds(entry, self._mtime)))
        kind = {"folder": stat.S_IFDIR, "file": stat.S_IFREG, "link": stat.S_IFLNK}[entry.kind]
        info.create_system = ZIP_UNIX
        info.external_attr = (kind | _mode(entry)) << 16 | (0x10 if entry.kind == "folder" else 0)
        info.compress_type = zipfile.ZIP_DEFLATED if entry.kind == "file" and entry.size else zipfile.ZIP_STORED
        info.file_size = entry.size if entry.kind == "file" else len(entry.target)
        return info

    def data(self, piece: Buffer) -> None:
        """Write bytes of a file."""
        if self._member is not None:
            self._member.write(piece)

    def _end_member(self) -> None:
        if self._member is not None:
            self._member.close()
            self._member = None

    def finish(self) -> None:
        """Write the table of members."""
        self._end_member()
        self._zip.close()

    def abandon(self) -> None:
        """Without its table it is no zip; what the library writes when it is closed goes nowhere."""
        self._file.silent = True
        self.finish()


class _OneWay(io.RawIOBase):
    """What zipfile takes for a file that can only be written; once it is `silent`, nothing comes through."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write
        self.silent = False

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Hand all of it on."""
        if not self.silent:
            self._write(data)
        return len(data)


def _zip_time(seconds: int) -> tuple[int, int, int, int, int, int]:
    """A time in UTC, as zip has no zone; the nearest that it knows."""
    bounded = max(0, min(seconds, 253402300799))
    found = datetime.fromtimestamp(bounded, UTC)
    moment = (found.year, found.month, found.day, found.hour, found.minute, found.second)
    return max(ZIP_FIRST, min(moment, ZIP_LAST))
