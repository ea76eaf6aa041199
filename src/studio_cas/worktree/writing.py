"""Write the entries of leaves into an open folder, and gather what stat says of what was written."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from studio_cas.errors import CorruptError, RefusedError
from studio_cas.formats.leaf import CONTINUATION, CONTINUED, KIND_MASK, EntryKind
from studio_cas.ids import digest
from studio_cas.worktree.copying import Copier, Piece
from studio_cas.worktree.fetch import SMALL_BATCH, Destination, Fetcher, local_error
from studio_cas.worktree.plan import Wanted
from studio_cas.worktree.scan import Row, parent_below, row_of
from studio_cas.worktree.selection import link_leaves
from studio_cas.worktree.sources import Sources
from studio_cas.worktree.whole import WholeFile, write_files

if TYPE_CHECKING:
    from studio_cas.formats.leaf import Leaf, Place

    Links = Literal["refuse", "skip", "allow"]

ZEROS = bytes(1024 * 1024)
OPEN_LIMIT = 256
PLANNED_LIMIT = 32 * 1024 * 1024
PLANNED_FILES = 400  # of one chunk: workers begin while the next ones are planned


class LeafJob:
    """The rows of one leaf's entries, by position; complete when `left` is 0."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.rows: list[Row | None] = [None] * len(leaf.paths)
        self.left = 0
        self._lock = threading.Lock()

    def expect(self) -> None:
        """One more row will arrive."""
        with self._lock:
            self.left += 1

    def arrived(self, position: int, row: Row) -> None:
        """The entry at `position` was written; from any thread."""
        with self._lock:
            self.rows[position] = row
            self.left -= 1


class TreeWriting:
    """Writes below the open folder `root`. `resumed`: files may be there already, from an interrupted pull.

    What `sources` knows is copied instead of fetched.
    """

    def __init__(
        self,
        root: int,
        fetcher: Fetcher,
        name: str,
        *,
        resumed: bool = False,
        links: Links = "refuse",
        sources: Sources | None = None,
    ) -> None:
        self._root = root
        self._fetcher = fetcher
        self._name = name
        self._resumed = resumed
        self._links = links
        self._sources = Sources() if sources is None else sources
        self._copier = Copier(fetcher, self._sources)
        self._zeros = {digest(ZEROS): len(ZEROS), digest(ZEROS[: 64 * 1024]): 64 * 1024}
        self._chunks: list[tuple[Place, Wanted]] = []
        self._literals: list[tuple[WholeFile, bytes]] = []
        self._open: Destination | None = None
        self._written = 0
        self._planned = 0
        self._unfinished: list[Destination] = []
        self.files = 0
        self.skipped_links: list[str] = []

    def write(self, job: LeafJob, slices: list[slice], names: list[tuple[int, bytes]]) -> None:
        """Write the entries at the given positions of the job's leaf, each under its name, and flush the reads."""
        leaf = job.leaf
        for position, name in names:
            attribute = leaf.attributes[position]
            kind = attribute & KIND_MASK
            try:
                if kind == EntryKind.FOLDER:
                    self._folder(name)
                    job.rows[position] = Row(name, EntryKind.FOLDER)
                elif kind == EntryKind.LINK:
                    job.rows[position] = self._link(name, leaf.literals[position], leaf.mtimes[position])
                elif kind in (EntryKind.FILE, EntryKind.EXECUTABLE):
                    self._file(job, position, name, slices[position])
                else:
                    message = (
                        f"{self._name}: {os.fsdecode(name)} is of unknown kind {kind}: upgrade studio_cas to read it"
                    )
                    raise CorruptError(message)
            except OSError as error:
                raise local_error(error, name) from error
        self.flush()

    def _folder(self, name: bytes) -> None:
        try:
            os.mkdir(name, dir_fd=self._root)
        except FileExistsError:
            if not self._resumed:
                raise
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            with parent_below(self._root, name) as (folder, last):
                try:
                    os.mkdir(last, dir_fd=folder)
                except FileExistsError:
                    if not self._resumed:
                        raise

    def _link(self, name: bytes, target: bytes, mtime_ns: int) -> Row | None:
        if self._links != "allow" and link_leaves(name, target):
            shown = f"{os.fsdecode(name)} -> {os.fsdecode(target)}"
            if self._links == "skip":
                self.skipped_links.append(shown)
                return None
            message = (
                f"{self._name}: the link {shown} leads out of the folder; "
                "pull with --links=skip to leave such links out, or --links=allow to make them"
            )
            raise RefusedError(message)
        if b"\0" in target:
            message = f"{self._name}: the target of the link {os.fsdecode(name)} is no path"
            raise RefusedError(message)
        with parent_below(self._root, name) as (folder, last):
            if self._resumed:
                _unlink(last, folder)
            os.symlink(target, last, dir_fd=folder)
            os.utime(last, ns=(mtime_ns, mtime_ns), dir_fd=folder, follow_symlinks=False)
            return row_of(name, os.stat(last, dir_fd=folder, follow_symlinks=False))

    def _file(self, job: LeafJob, position: int, name: bytes, part: slice) -> None:
        leaf = job.leaf
        attribute = leaf.attributes[position]
        size = leaf.sizes[position]
        lengths = leaf.lengths[part]
        if (sum(lengths) if lengths else len(leaf.literals[position])) != size:
            message = f"{self._name}: {os.fsdecode(name)}: its chunks do not add up to its {size} bytes"
            raise CorruptError(message)
        if attribute & CONTINUATION:
            destination = self._continued(name)
        else:
            self.files += 1
            kind = attribute & KIND_MASK
            job.expect()
            if len(lengths) < 2 and not attribute & CONTINUED and not self._resumed:
                whole = WholeFile(self._root, name, kind, leaf.mtimes[position], job.arrived, position)
                self._one(leaf, part, whole, leaf.literals[position])
                return
            arrived = partial(job.arrived, position)
            destination = Destination(self._root, name, kind, size, leaf.mtimes[position], arrived)
        if not attribute & CONTINUATION:
            destination.open(fresh=not self._resumed)
            if self._sources and not self._resumed:
                self._copier.clone(destination, leaf, part)
            self._unfinished.append(destination)
            self._written = 0
        else:
            destination.grow(self._written + size)
        self._parts(leaf, part, destination, leaf.literals[position])
        if attribute & CONTINUED:
            self._open = destination
        else:
            destination.arrived()
        if len(self._unfinished) > OPEN_LIMIT or self._planned > PLANNED_LIMIT:
            self._relieve()

    def _relieve(self) -> None:
        """Hand on what was planned; where very many files are open, wait for them."""
        self.flush()
        self._unfinished = [destination for destination in self._unfinished if destination.is_open]
        if len(self._unfinished) > OPEN_LIMIT:
            self._fetcher.finish()
            self._unfinished = [destination for destination in self._unfinished if destination.is_open]

    def _continued(self, name: bytes) -> Destination:
        destination, self._open = self._open, None
        if destination is None or destination.path != name:
            message = f"{self._name}: {os.fsdecode(name)}: a part of it is missing from the manifest"
            raise CorruptError(message)
        return destination

    def _one(self, leaf: Leaf, part: slice, whole: WholeFile, literal: bytes) -> None:
        """A file of one chunk, of a literal, or of nothing."""
        if part.stop == part.start:
            self._literals.append((whole, literal))
            return
        chunk_id, place = leaf.ids[part.start], leaf.places[part.start]
        if self._sources and self._copier.take(Piece(chunk_id, place, leaf.lengths[part.start], whole, None)):
            return
        wanted = Wanted(chunk_id, place.inner, leaf.lengths[part.start], (whole, None))
        if len(self._chunks) >= PLANNED_FILES and self._chunks[-1][0][:2] != place[:2]:  # a frame is read once
            self.flush()
        self._chunks.append((place, wanted))

    def _parts(self, leaf: Leaf, part: slice, destination: Destination, literal: bytes) -> None:
        if literal:
            destination.fill(literal)
        for index in range(part.start, part.stop):
            chunk_id, length = leaf.ids[index], leaf.lengths[index]
            offset = self._written
            self._written += length
            if (self._zeros.get(chunk_id) == length and not (self._resumed or destination.cloned)) or (
                self._resumed and destination.holds(offset, length, chunk_id)
            ):
                self._fetcher.skip(length)  # a hole reads as zeros
                continue
            destination.expect()
            place = leaf.places[index]
            if destination.cloned:
                self._copier.verify(destination, Piece(chunk_id, place, length, destination, offset), offset)
            elif self._sources and self._copier.take(Piece(chunk_id, place, length, destination, offset)):
                continue
            else:
                self._chunks.append((place, Wanted(chunk_id, place.inner, length, (destination, offset))))
                self._planned += length

    def flush(self) -> None:
        """Hand what was planned to the fetcher."""
        self._copier.flush()
        chunks, self._chunks, self._planned = self._chunks, [], 0
        literals, self._literals = self._literals, []
        for start in range(0, len(literals), SMALL_BATCH):
            batch = literals[start : start + SMALL_BATCH]
            self._fetcher.submit(sum(len(literal) for _, literal in batch), partial(_write_literals, batch))
        if chunks:
            self._fetcher.fetch(chunks)

    def close(self) -> None:
        """Close what an error left open."""
        for destination in self._unfinished:
            destination.abandon()


def _write_literals(batch: list[tuple[WholeFile, bytes]]) -> int:
    lengths = [len(literal) for _, literal in batch]
    offsets = list(accumulate(lengths, initial=0))
    data = memoryview(b"".join([literal for _, literal in batch]))
    try:
        write_files([whole for whole, _ in batch], offsets[:-1], lengths, data)
    except OSError as error:
        raise local_error(error, error.filename) from error
    return offsets[-1]


def _unlink(name: bytes, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
