"""The walk of a capture: what the scan finds, beside what was captured before, becomes the entries of the tree."""

from __future__ import annotations

import os
import time
from itertools import takewhile
from typing import TYPE_CHECKING

from studio_cas.chunking.profile import Profile
from studio_cas.formats.leaf import EntryKind
from studio_cas.worktree import sqlite, statcache
from studio_cas.worktree.batch import AHEAD
from studio_cas.worktree.reading import Content, Failure
from studio_cas.worktree.remembered import order
from studio_cas.worktree.scan import Row, parent_below
from studio_cas.worktree.tree_writer import FILES, Item

if TYPE_CHECKING:
    from studio_cas.progress import Progress
    from studio_cas.worktree.reading import FileReader
    from studio_cas.worktree.remembered import Cursor, Entry, Parent
    from studio_cas.worktree.source import Rows
    from studio_cas.worktree.statcache import StateReader
    from studio_cas.worktree.tree_writer import TreeWriter


class Walk:
    """Gives `tree` an entry for each row: as `cursor` remembers it, or as `reader` reads it below the open `folder`.

    `alone`: a single file is captured, and nothing beside it.
    """

    def __init__(
        self,
        folder: int,
        reader: FileReader,
        cursor: Cursor,
        old: StateReader,
        parent: Parent,
        tree: TreeWriter,
        progress: Progress,
        *,
        alone: bool,
    ) -> None:
        self._folder = folder
        self._reader = reader
        self._batches = reader.batches
        self._cursor = cursor
        self._old = old
        self._parent = parent
        self._tree = tree
        self._progress = progress
        self._alone = alone
        self._began_ns = time.time_ns()
        self._of_parent: set[bytes] = set()  # databases that the stat cache did not know
        self.stale: list[str] = []
        self.skipped: list[str] = []

    def skip(self, path: bytes, why: str) -> None:
        """Something at `path` cannot be captured."""
        self.skipped.append(f"{os.fsdecode(path) or '.'}: {why}")

    def run(self, rows: Rows) -> None:
        """Merge the scan with the stat cache: whole unchanged leaves at once, everything else entry by entry."""
        tree, cursor = self._tree, self._cursor
        self._rows = rows
        while True:
            block = cursor.whole_block() if tree.at_boundary else None
            if block is not None:
                batch = rows.take(len(block.rows))
                whole = batch == block.rows and (batch or block.begins_inside)
                if whole and not (cursor.at_last and rows.more()) and tree.reuse(block, self._old.leaf_object):
                    cursor.accept()
                    self._progress.advance(block.leaf.size, block.files)
                    continue
                rows.put_back(batch)
            row = rows.next()
            if row is None:
                cursor.pass_all()
                self._keep_passed()
                return
            self._add(row)

    def _add(self, row: Row) -> None:
        remembered = self._cursor.find(row.path)
        if self._cursor.passed:
            self._keep_passed()
        named_so = row.path.endswith(sqlite.SUFFIXES) and row.kind in FILES and not self._alone
        if named_so and self._add_side(row, remembered):
            return
        if row.kind == EntryKind.FOLDER:
            self._tree.add(Item(row.path, row.kind, Profile.CDC, 0, 0, b"", None, row))
            return
        entry = self._cursor.take() if remembered is not None else None
        if entry is not None and remembered == row:
            self._keep(row, entry, row)
            self._progress.advance(entry.size, 1)
        elif row.kind == EntryKind.LINK:
            self._add_link(row)
        else:
            self._add_file(row, entry, remembered)

    def _add_side(self, row: Row, remembered: Row | None) -> bool:
        """A file beside a database, where it belongs to one: they are of one moment. False for any other file."""
        known = row.path in self._reader.sides
        if not known and sqlite.database_below(self._folder, sqlite.base_of(row.path)) is None:
            return False
        if row.path.endswith(sqlite.INDEX):
            return True
        if not known and remembered == row:
            return False
        entry = self._cursor.take() if remembered is not None else None
        if known:
            content = self._reader.sides.pop(row.path)
        elif row.path.endswith(sqlite.LOG):
            content = self._read_log(row)
        else:  # the database is as it was: what had to be undone, if anything
            content = Failure.UNSTEADY if entry is not None else None
        if isinstance(content, Content):
            self._add_content(content)
        elif content is Failure.UNSTEADY:
            if entry is None and sqlite.base_of(row.path) in self._of_parent:
                entry = self._parent.entry(row.path)
            if entry is not None:
                self._add_stale(row, entry)
        return True

    def _read_log(self, row: Row) -> Content | Failure:
        try:
            return self._reader.read_log(row.path, self._began_ns)
        except OSError as error:
            self.skip(row.path, f"cannot be read: {error.strerror}")
            return Failure.UNSTEADY

    def _keep_passed(self) -> None:
        """Files beside databases are gone. Where a database is written right now, it is kept as it was, with them."""
        for path, entry in self._cursor.passed:
            if entry is None or entry.kind not in FILES or path in self._reader.sides:
                continue
            base = sqlite.database_below(self._folder, sqlite.base_of(path))
            if base is not None and not sqlite.unwritten_since(base, self._began_ns):
                self._add_stale(Row(path, entry.kind), entry)
        self._cursor.passed.clear()

    def _keep(self, row: Row, entry: Entry, remembered: Row) -> None:
        """An entry as it was captured before."""
        mtime = entry.mtime_ns
        item = Item(row.path, entry.kind, entry.profile, entry.size, mtime, entry.literal, entry.chunks, remembered)
        self._tree.add(item)

    def _add_link(self, row: Row) -> None:
        try:
            with parent_below(self._folder, row.path) as (folder, name):
                target = os.readlink(name, dir_fd=folder)
        except OSError as error:
            self.skip(row.path, f"cannot be read: {error.strerror}")
            return
        remembered = statcache.trusted(row, time.time_ns())
        self._tree.add(Item(row.path, EntryKind.LINK, Profile.CDC, 0, row.mtime_ns, target, None, remembered))

    def _add_file(self, row: Row, entry: Entry | None, remembered: Row | None) -> None:
        if entry is None:
            self._parent.learn(row.path)
        if remembered is None and self._add_read(row):
            return
        grown = entry is not None and remembered is not None and row.size > entry.size and _same_file(row, remembered)
        try:
            content = self._reader.read(row, entry.chunks if entry and grown else None)
        except OSError as error:
            self.skip(row.path, f"cannot be read: {error.strerror}")
            return
        if isinstance(content, Content) and self._alone and any(self._reader.sides.values()):
            content = Failure.UNSTEADY  # it is not whole without what lies beside it
        if isinstance(content, Content):
            self._add_content(content)
        elif content is Failure.UNSTEADY:
            if entry is None:
                self._of_parent.add(row.path)
                entry = self._parent.entry(row.path)
            self._add_stale(row, entry)
        if self._reader.sides and not self._alone:
            self._expect_sides(row)

    def _read_ahead(self, row: Row) -> None:
        """Let workers read this new file, and with it those that follow and are new, too."""
        following = self._rows.take(AHEAD)
        known = self._cursor.following()
        new = takewhile(lambda one: order(one[0]) < known, following) if known else following
        self._batches.begin([row, *new], self._parent.learn if self._parent.version else None)
        self._rows.put_back(following)

    def _add_read(self, row: Row | None) -> bool:
        """This new file, and those after it, as far as they were read ahead and held still; False where not even it."""
        if row is not None and self._batches.wanted:
            self._read_ahead(row)
        take, size, items = self._batches.take, 0, []
        while row is not None and (stored := take(row.path)) is not None:
            size += row.size
            items.append(Item(row.path, row.kind, Profile.CDC, row.size, row.mtime_ns, *stored, row))
            row = self._rows.next()
        if not items:
            return False
        if row is not None:
            self._rows.put_back([row])
        self._tree.add(*items)
        self._progress.advance(size, len(items))
        return True

    def _expect_sides(self, row: Row) -> None:
        """What was read with a database has rows, where the scan may not know them."""
        for side in (row.path + suffix for suffix in sqlite.SIDES):
            if self._reader.sides.get(side) is not None:
                self._rows.add(Row(side, row.kind))

    def _add_content(self, content: Content) -> None:
        read = content.row
        remembered = statcache.trusted(read, time.time_ns())
        self._tree.add(
            Item(
                read.path,
                read.kind,
                content.profile,
                read.size,
                read.mtime_ns,
                content.literal,
                content.chunks,
                remembered,
            )
        )
        self._progress.advance(0, 1)

    def _add_stale(self, row: Row, entry: Entry | None) -> None:
        """A file that was being written: its earlier state, which the stat cache must not trust, or nothing."""
        self.stale.append(os.fsdecode(row.path))
        if entry is not None and entry.kind in FILES:
            self._keep(row, entry, row._replace(kind=entry.kind, mtime_ns=statcache.UNTRUSTED))


def _same_file(row: Row, other: Row) -> bool:
    """Whether both are one file: a log that only grew is not another one in its place."""
    return (row.inode, row.device) == (other.inode, other.device)
