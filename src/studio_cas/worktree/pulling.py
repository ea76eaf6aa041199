"""One pull while it runs: what it wants, and what it remembers of what was written."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from studio_cas.codec import zstd
from studio_cas.errors import NoSpaceError, NotFoundError
from studio_cas.formats import leaf as leaves
from studio_cas.formats.leaf import CONTINUATION, KIND_MASK, EntryKind, Leaf, PathOrder
from studio_cas.formats.root import LeafRow
from studio_cas.ids import LeafId
from studio_cas.store.trees import TreeReader
from studio_cas.worktree import statcache
from studio_cas.worktree.fetch import local_error
from studio_cas.worktree.scan import parent_below
from studio_cas.worktree.sources import Sources
from studio_cas.worktree.state_writer import StateWriter
from studio_cas.worktree.tree_writer import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.formats.version import Version
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.worktree.fetch import Fetcher
    from studio_cas.worktree.selection import Selection
    from studio_cas.worktree.sources import Lying
    from studio_cas.worktree.writing import LeafJob, Links, TreeWriting


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs. `kind`: "added", "removed" or "changed"; sizes in bytes, None where there is no side."""

    path: bytes
    kind: Literal["added", "removed", "changed"]
    old_size: int | None
    new_size: int | None


@dataclass(frozen=True, slots=True)
class MaterialiseResult:
    """What a pull did, or with `dry_run` would do. Sizes in bytes; `bytes_fetched` were read from packs."""

    path: Path
    files_written: int
    files_deleted: int
    bytes_written: int
    bytes_fetched: int
    changes: tuple[Change, ...]
    skipped_links: tuple[str, ...] = ()


class Pull:
    """One pull while it runs."""

    def __init__(self, store: Store, version: Version, selection: Selection, links: Links, progress: Progress) -> None:
        self.store = store
        self.version = version
        self.selection = selection
        self.links: Links = links
        self.progress = progress
        self.tree = TreeReader(store, version)
        self._flags = 0 if selection.everything else statcache.PARTIAL

    @property
    def name(self) -> str:
        """Of the version."""
        return self.version.name

    def single_name(self) -> bytes | None:
        """The path of the single file that is wanted, or None where a folder is. Raises NotFoundError."""
        if self.version.is_file:
            return self.tree.root.leaves[0].first_path
        wanted = self.selection.path
        if not wanted:
            return None
        for _, leaf in self.tree.leaves():
            if wanted in leaf.paths:
                kind = leaf.attributes[leaf.paths.index(wanted)] & KIND_MASK
                return None if kind == EntryKind.FOLDER else wanted
        message = f"{self.version.name} has no path {os.fsdecode(wanted)!r}: `studio ls {self.version.name}` lists them"
        raise NotFoundError(message)

    def check_wanted(self) -> None:
        """Raises NotFoundError where patterns leave nothing to write."""
        if not self.selection.filtered:
            return
        for _, leaf in self.tree.leaves():
            for path, attribute in zip(leaf.paths, leaf.attributes, strict=True):
                if self.selection.name(path, folder=attribute & KIND_MASK == EntryKind.FOLDER) is not None:
                    return
        raise NotFoundError(f"{self.version.name} has nothing that fits {self.selection.patterns}; nothing was written")

    def names(self, leaf: Leaf, checker: PathOrder) -> list[tuple[int, bytes]]:
        """Position and new name of the entries of `leaf` that are wanted. Raises RefusedError."""
        names = []
        for position, path in enumerate(leaf.paths):
            attribute = leaf.attributes[position]
            checker.check(path, attribute)
            name = self.selection.name(path, folder=attribute & KIND_MASK == EntryKind.FOLDER)
            if name is not None:
                names.append((position, name))
        return names

    def stamp(self) -> str:
        """What tells this pull from others that would be built in the same place."""
        selection = self.selection
        part = "" if selection.everything else f" {selection.path!r} {selection.filtered}"
        return f"{self.version.manifest_id.hex()}{part}"

    def make_parents(self, folder: int, names: list[tuple[int, bytes]], leaf: Leaf, made: set[bytes]) -> None:
        """With `include`, folders are not wanted for themselves, but the files in them need them."""
        for position, path in names:
            if leaf.attributes[position] & KIND_MASK == EntryKind.FOLDER:
                made.add(path)
            parts = path.split(b"/")[:-1]
            for depth in range(1, len(parts) + 1):
                parent = b"/".join(parts[:depth])
                if parent not in made:
                    made.add(parent)
                    with suppress(FileExistsError), parent_below(folder, parent) as (above, name):  # of an earlier try
                        os.mkdir(name, dir_fd=above)

    def record(self, state: StateWriter, index: int, job: LeafJob, names: list[tuple[int, bytes]]) -> None:
        """Remember what was written, so that it is known unchanged later."""
        row = self.tree.root.leaves[index]
        leaf = job.leaf
        written = [item for item in names if job.rows[item[0]] or leaf_continues(leaf, item[0])]
        partial = self._flags or len(written) != len(leaf.paths)  # a link that was left out makes it another leaf
        if partial:
            leaf = _part(leaf, written)
            row = _row_of_part(leaf)
        rows = [found for position, found in enumerate(job.rows) if found and not leaf_continues(job.leaf, position)]
        if partial and not rows:
            return
        leaf_id, plain = leaves.encode(leaf)
        if partial:
            row = replace(row, leaf_id=leaf_id)
        files = sum(1 for found in rows if found.kind in FILES)
        flags = statcache.PARTIAL if partial else 0
        if leaf.attributes and leaf.attributes[0] & CONTINUATION:
            flags |= statcache.INSIDE
        state.add(row, files, rows, leaf.packs(), zstd.compress(plain), len(plain), flags)

    def state(self, dest: Path) -> StateWriter:
        """What this machine will remember of `dest`, from nothing."""
        return StateWriter(statcache.path_of(self.store, dest), statcache.StateReader(None))

    def sources(self, needed: int, known: dict[bytes, Lying] | None = None) -> Sources:
        """Where chunks of it lie on this machine; `needed` bytes are to be written. Close it."""
        found = Sources(known)
        found.look_around(self.store, self.version.manifest_id.hex(), needed)
        return found

    def additions(self) -> Iterator[Change]:
        """Everything that is wanted, as it is new where nothing is."""
        checker = PathOrder()
        for _, leaf in self.tree.leaves():
            for position, name in self.names(leaf, checker):
                if not leaf.attributes[position] & CONTINUATION:
                    yield Change(name, "added", None, leaf.sizes[position])

    def check_space(self, folder: Path, needed: int) -> None:
        """Raises NoSpaceError where the file system of `folder` has no room for `needed` bytes."""
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            message = (
                f"{self.version.name} needs {needed:,} bytes, and {folder} has {free:,} free: "
                "make room, or name another destination; nothing was written"
            )
            raise NoSpaceError(message)

    def report(
        self,
        dest: Path,
        changes: tuple[Change, ...],
        writing: TreeWriting | None = None,
        fetcher: Fetcher | None = None,
    ) -> MaterialiseResult:
        """What was done, or would be."""
        return MaterialiseResult(
            dest,
            writing.files if writing else 0,
            0,
            fetcher.bytes_written if fetcher else 0,
            fetcher.bytes_fetched if fetcher else 0,
            changes,
            tuple(writing.skipped_links) if writing else (),
        )


def leaf_continues(leaf: Leaf, position: int) -> bool:
    """Whether the entry is a later part of a file."""
    return bool(leaf.attributes[position] & CONTINUATION)


def _part(leaf: Leaf, names: list[tuple[int, bytes]]) -> Leaf:
    """The entries of `leaf` that were written, under their new names."""
    part = Leaf()
    slices = list(leaf.chunk_slices())
    for position, name in names:
        part.paths.append(name)
        part.attributes.append(leaf.attributes[position])
        part.sizes.append(leaf.sizes[position])
        part.counts.append(leaf.counts[position])
        part.literals.append(leaf.literals[position])
        part.mtimes.append(leaf.mtimes[position])
        part.lengths.extend(leaf.lengths[slices[position]])
        part.ids.extend(leaf.ids[slices[position]])
        part.places.extend(leaf.places[slices[position]])
    return part


def _row_of_part(part: Leaf) -> LeafRow:
    first = part.paths[0] if part.paths else b""
    return LeafRow(LeafId(bytes(32)), len(part.paths), sum(part.sizes), first, None)


def open_folder(path: Path) -> int:
    """An open descriptor. Raises LocalIOError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise local_error(error, os.fsencode(path)) from error
