"""Take chunks from where they lie on this machine, verified, and from the store where they are not what was told.

A file of several chunks that lies here whole is cloned where the file system can share blocks (FICLONE: xfs, btrfs),
into the file that is being built beside the destination, where nobody else writes; there each chunk is verified, and
overwritten where it is another. Anywhere else each chunk is read, verified, and written.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.ids import digest
from studio_cas.worktree.fetch import SMALL_BATCH, Destination, local_error, write_to
from studio_cas.worktree.plan import Wanted
from studio_cas.worktree.scan import open_below
from studio_cas.worktree.whole import WholeFile

if TYPE_CHECKING:
    from studio_cas.formats.leaf import Leaf, Place
    from studio_cas.worktree.fetch import Fetcher
    from studio_cas.worktree.sources import Lying, Sources

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
MISSES = 64  # chunks that were not there; beyond that the store is asked for whole ranges


class Piece(NamedTuple):
    """A chunk: its id, where it is in the store, its length, and the file (at an offset) that it is wanted in."""

    chunk_id: bytes
    place: Place
    length: int
    target: WholeFile | Destination
    offset: int | None


class Copier:
    """Used from one thread; the fetcher's workers do the work."""

    def __init__(self, fetcher: Fetcher, sources: Sources) -> None:
        self._fetcher = fetcher
        self._sources = sources
        self._small: list[tuple[Lying, Piece]] = []
        self._clones = True
        self._misses = 0

    def take(self, piece: Piece) -> bool:
        """Write the chunk, which its target expects, from where it lies; False where that is not known."""
        lying = self._sources.get(piece.chunk_id) if self._misses <= MISSES else None
        if lying is None:
            return False
        if isinstance(piece.target, WholeFile):
            self._small.append((lying, piece))
            if len(self._small) >= SMALL_BATCH:
                self.flush()
        else:
            self._fetcher.submit(piece.length, lambda: self._copy([(lying, piece)]))
        return True

    def flush(self) -> None:
        """Hand small files on that wait for company."""
        batch, self._small = self._small, []
        if batch:
            self._fetcher.submit(sum(piece.length for _, piece in batch), lambda: self._copy(batch))

    def _copy(self, batch: list[tuple[Lying, Piece]]) -> int:
        """Write what lies there as it was told, and fetch the rest together; how many bytes were written."""
        missing = []
        written = 0
        for lying, piece in batch:
            data = _read(lying, piece.length)
            if digest(data) != piece.chunk_id:
                missing.append(piece)
                continue
            try:
                write_to(piece.target, piece.offset, data)
            except OSError as error:
                raise local_error(error, piece.target.path) from error
            written += piece.length
        return written + (self._fetch(missing) if missing else 0)

    def _fetch(self, pieces: list[Piece]) -> int:
        self._misses += len(pieces)  # from several threads: that one is lost does not matter
        return self._fetcher.fetch_now(
            [
                (piece.place, Wanted(piece.chunk_id, piece.place.inner, piece.length, (piece.target, piece.offset)))
                for piece in pieces
            ]
        )

    def clone(self, destination: Destination, leaf: Leaf, part: slice) -> None:
        """Fill the file, just made, with the blocks of one that holds the chunks of `part` from its beginning on."""
        source = self._whole(leaf, part) if self._clones and self._misses <= MISSES else None
        file = -1 if source is None else _open(source)
        if file < 0:
            return
        try:
            destination.clone(lambda target: clone(target, file))
        except OSError:
            self._clones = False  # this file system cannot
        finally:
            os.close(file)

    def _whole(self, leaf: Leaf, part: slice) -> Lying | None:
        first = self._sources.get(leaf.ids[part.start])
        if first is None or first.offset:
            return None
        at = 0
        for chunk_id, length in zip(leaf.ids[part], leaf.lengths[part], strict=True):
            if self._sources.get(chunk_id) != first._replace(offset=at):
                return None
            at += length
        return first

    def verify(self, destination: Destination, piece: Piece, offset: int) -> None:
        """See that a clone holds the chunk, which it expects, or fetch it."""

        def work() -> int:
            if not destination.holds(offset, piece.length, piece.chunk_id):
                return self._fetch([piece])
            destination.arrived()
            return piece.length

        self._fetcher.submit(piece.length, work)


def clone(target: int, source: int) -> None:
    """Make the open file `target` share all blocks of `source`. Raises OSError where the file system cannot."""
    fcntl.ioctl(target, FICLONE, source)


def _open(lying: Lying) -> int:
    try:
        return open_below(lying.root, lying.path, READ)
    except OSError:
        return -1


def _read(lying: Lying, length: int) -> bytes:
    file = _open(lying)
    if file < 0:
        return b""
    try:
        return os.pread(file, length, lying.offset)
    except OSError:
        return b""
    finally:
        os.close(file)
