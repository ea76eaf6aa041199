"""Compare a destination with a manifest: what to write, what to delete, and what is in the way.

What stands in the destination may be replaced where this machine remembers it as captured or pulled (the stat cache),
or where it equals what is to be written. Anything else is a conflict.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studio_cas.formats.leaf import CONTINUATION, KIND_MASK, EntryKind, PathOrder
from studio_cas.ids import digest
from studio_cas.worktree.remembered import Cursor, Parts, order
from studio_cas.worktree.scan import Row, open_below, parent_below
from studio_cas.worktree.sources import Lying
from studio_cas.worktree.tree_writer import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.formats.leaf import Leaf
    from studio_cas.store.trees import TreeReader
    from studio_cas.worktree.journal import Journal
    from studio_cas.worktree.remembered import Entry
    from studio_cas.worktree.selection import Selection
    from studio_cas.worktree.statcache import Block

LOCAL_LIMIT = 1_000_000


@dataclass(slots=True)
class LeafPlan:
    """What to do with one leaf: reuse `block` as it is, or write `names`; `rows` are those that stay, by position."""

    index: int
    block: Block | None = None
    rows: list[Row | None] = field(default_factory=list)
    selected: list[tuple[int, bytes]] = field(default_factory=list)
    names: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Reconciliation:
    """The plan. `local` says where chunks can be had from files that are here."""

    leaves: list[LeafPlan] = field(default_factory=list)
    added: list[tuple[bytes, int]] = field(default_factory=list)
    changed: list[tuple[bytes, int, int]] = field(default_factory=list)
    removed: list[tuple[bytes, int, int]] = field(default_factory=list)
    conflicts: list[bytes] = field(default_factory=list)
    local: dict[bytes, Lying] = field(default_factory=dict)


class Reconciler:
    """Walks destination, stat cache and manifest together, in order of path."""

    def __init__(
        self,
        tree: TreeReader,
        folder: int,
        rows: Iterator[Row],
        cursor: Cursor,
        selection: Selection,
        journal: Journal,
    ) -> None:
        self._tree = tree
        self._folder = folder
        self._rows = rows
        self._cursor = cursor
        self._selection = selection
        self._journal = journal
        self._ahead: deque[Row] = deque()
        self._keeps = False
        self._decoded: dict[int, tuple[Leaf, list[slice]]] = {}
        self.plan = Reconciliation()

    def run(self, *, force: bool) -> Reconciliation:
        """The plan; with `force` nothing is a conflict."""
        checker = PathOrder()
        for index, row in enumerate(self._tree.root.leaves):
            block = self._cursor.whole_block(row.leaf_id) if self._selection.everything else None
            if block is not None:
                batch = self._take(len(block.rows))
                if batch == block.rows:
                    self._cursor.accept()
                    self.plan.leaves.append(LeafPlan(index, block))
                    for known in block.rows:  # paths are checked whole, whatever is skipped
                        checker.check(known.path, known.kind)
                    continue
                self._ahead.extendleft(reversed(batch))
            self._plan_leaf(index, checker)
        while (row_left := self._next()) is not None:
            self._extra(row_left)
        if force:
            self.plan.conflicts.clear()
        return self.plan

    def _leaf(self, index: int) -> tuple[Leaf, list[slice]]:
        found = self._decoded.get(index)
        if found is None:
            leaf = self._tree.leaf(index)
            found = (leaf, list(leaf.chunk_slices()))
            self._decoded = {key: value for key, value in self._decoded.items() if key >= index - 1}
            self._decoded[index] = found
        return found

    def _plan_leaf(self, index: int, checker: PathOrder) -> None:
        leaf, _ = self._leaf(index)
        plan = LeafPlan(index, rows=[None] * len(leaf.paths))
        for position, path in enumerate(leaf.paths):
            attribute = leaf.attributes[position]
            checker.check(path, attribute)
            name = self._selection.name(path, folder=attribute & KIND_MASK == EntryKind.FOLDER)
            if name is None:
                continue
            if attribute & CONTINUATION:
                keeps = self._keeps
            else:
                there = self._beside(name)
                keeps = there is not None and self._stays(there, index, position, name)
                if there is None:
                    self.plan.added.append((name, self._entry(index, position).size))
                self._keeps = keeps
                if keeps:
                    plan.rows[position] = there
            plan.selected.append((position, name))
            if not keeps:
                plan.names.append((position, name))
        self.plan.leaves.append(plan)

    def _beside(self, name: bytes) -> Row | None:
        """The row of the destination at `name`; what lies before it is extra."""
        key = order(name)
        while (row := self._next()) is not None:
            if row.path == name:
                return row
            if order(row.path) > key:
                self._ahead.appendleft(row)
                break
            self._extra(row)
        return None

    def _next(self) -> Row | None:
        if self._ahead:
            return self._ahead.popleft()
        return next(self._rows, None)

    def _take(self, count: int) -> list[Row]:
        taken: list[Row] = []
        while len(taken) < count and (row := self._next()) is not None:
            taken.append(row)
        return taken

    def _extra(self, row: Row) -> None:
        """Something that the manifest does not have: deleted, where it is remembered."""
        entry = self._remembered(row)
        if entry is None and row.kind != EntryKind.FOLDER:
            self._doubt(row)
        elif entry is not None:
            self._offer(row.path, entry)
        self.plan.removed.append((row.path, row.kind, row.size))

    def _doubt(self, row: Row) -> None:
        """Something that is not remembered is in the way, unless a pull that stopped had put it there."""
        if not any(holds(self._folder, row, entry) for entry in self._journal.entries(row.path)):
            self.plan.conflicts.append(row.path)

    def _remembered(self, row: Row) -> Entry | None:
        """The entry of a row that is as it was left."""
        found = self._cursor.find(row.path)
        if found is None:
            return None
        entry = self._cursor.take() if row.kind != EntryKind.FOLDER else None
        return entry if found == row else None

    def _stays(self, row: Row, index: int, position: int, name: bytes) -> bool:
        """Whether what is there equals the manifest's entry; if not, it is planned to be replaced."""
        wanted = self._entry(index, position)
        if row.kind == wanted.kind == EntryKind.FOLDER:
            self._cursor.find(row.path)
            return True
        entry = self._remembered(row)
        if entry is not None and _equal(entry, wanted):
            return True
        if entry is None and holds(self._folder, row, wanted):
            return True
        if entry is not None:
            self._offer(row.path, entry)
        elif row.kind != EntryKind.FOLDER:
            self._doubt(row)
        if EntryKind.FOLDER in {row.kind, wanted.kind}:
            self.plan.removed.append((row.path, row.kind, row.size))
            self.plan.added.append((name, wanted.size))
        else:
            self.plan.changed.append((name, row.size, wanted.size))
        return False

    def _entry(self, index: int, position: int) -> Entry:
        """The whole entry of the manifest, its later parts included."""
        parts = Parts()
        while True:
            leaf, slices = self._leaf(index)
            entry = parts.add(leaf, position, slices)
            if entry is not None:
                return entry
            index, position = index + 1, 0

    def _offer(self, path: bytes, entry: Entry) -> None:
        """The chunks of a file that is here, and unchanged, need not be fetched."""
        if entry.chunks is None or entry.kind not in FILES or len(self.plan.local) > LOCAL_LIMIT:
            return
        offset = 0
        for chunk_id, length in zip(entry.chunks.ids, entry.chunks.lengths, strict=True):
            self.plan.local[chunk_id] = Lying(self._folder, path, offset)
            offset += length


def _equal(a: Entry, b: Entry) -> bool:
    if (a.kind, a.size, a.literal) != (b.kind, b.size, b.literal):
        return False
    return (a.chunks.ids if a.chunks else []) == (b.chunks.ids if b.chunks else [])


def holds(root: int, row: Row, wanted: Entry) -> bool:
    """Whether the file or link at `row`, below the open folder `root`, has the bytes of `wanted`, by reading it."""
    if row.kind != wanted.kind:
        return False
    try:
        if row.kind == EntryKind.LINK:
            with parent_below(root, row.path) as (folder, name):
                return os.readlink(name, dir_fd=folder) == wanted.literal
        if row.size != wanted.size:
            return False
        file = open_below(root, row.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if wanted.chunks is None:
            return os.read(file, wanted.size + 1) == wanted.literal
        pairs = zip(wanted.chunks.ids, wanted.chunks.lengths, strict=True)
        return all(digest(os.read(file, length)) == chunk_id for chunk_id, length in pairs)
    except OSError:
        return False
    finally:
        os.close(file)
