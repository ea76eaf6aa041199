"""What is known of a folder before it is read: the stat cache of this machine, and the parent version.

The stat cache is walked once, beside the scan. The parent is asked for single paths, leaf by leaf, where the stat cache
knows nothing of them: to find its chunks, and to keep the earlier state of a file that is being written.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.chunking.profile import Profile
from studio_cas.errors import StoreUnavailableError, StudioError
from studio_cas.formats import leaf as leaves
from studio_cas.formats.leaf import CONTINUED, KIND_MASK, PROFILE_SHIFT, EntryKind
from studio_cas.store.chunks import Chunks
from studio_cas.store.trees import TreeReader
from studio_cas.worktree.sqlite import SIDES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.formats.leaf import Leaf, Place
    from studio_cas.formats.version import Version
    from studio_cas.ids import LeafId, PackId
    from studio_cas.store.store import Store
    from studio_cas.worktree.scan import Row
    from studio_cas.worktree.statcache import Block, StateReader


class Entry(NamedTuple):
    """A file as an earlier capture stored it."""

    kind: int
    profile: Profile
    size: int
    mtime_ns: int
    literal: bytes
    chunks: Chunks | None


def order(path: bytes) -> bytes:
    """Sorts as paths do: component by component."""
    return path.replace(b"/", b"\0")


class Parts:
    """Gathers one file from the leaf entries that hold its parts."""

    def __init__(self) -> None:
        self._chunks = Chunks()
        self._size = 0

    def add(self, leaf: Leaf, index: int, slices: list[slice]) -> Entry | None:
        """Take entry `index`; the whole file after its last part."""
        attribute = leaf.attributes[index]
        part = slices[index]
        self._chunks.ids += leaf.ids[part]
        self._chunks.lengths += leaf.lengths[part]
        self._chunks.places += leaf.places[part]
        self._size += leaf.sizes[index]
        if attribute & CONTINUED:
            return None
        chunks = self._chunks if self._chunks.ids else None
        profile = Profile(attribute >> PROFILE_SHIFT)
        return Entry(attribute & KIND_MASK, profile, self._size, leaf.mtimes[index], leaf.literals[index], chunks)


def _is_offered(entry: Entry, without: frozenset[PackId]) -> bool:
    """Whether nothing of the file lies in a pack of `without`."""
    return not without or entry.chunks is None or all(place.pack not in without for place in entry.chunks.places)


class Cursor:
    """Walks the blocks of the stat cache as the scan goes on. What lies in packs of `without` is forgotten."""

    def __init__(self, state: StateReader, without: frozenset[PackId] = frozenset()) -> None:
        self._state = state
        self._without = without
        self._blocks = state.blocks()
        self._block: Block | None = None
        self._following = next(self._blocks, None)
        self._index = 0
        self._tried = False
        self._leaf: tuple[Leaf, list[slice]] | None = None
        self.places: dict[LeafId, Place] = {}
        self.passed: list[tuple[bytes, Entry | None]] = []
        self._advance()

    def _advance(self) -> None:
        self._block, self._following = self._following, next(self._blocks, None)
        self._index, self._tried, self._leaf = 0, False, None
        if self._block and self._block.leaf.place and self._offers(self._block):
            self.places[self._block.leaf.leaf_id] = self._block.leaf.place

    def whole_block(self, wanted: LeafId | None = None) -> Block | None:
        """The block that comes next (if it is leaf `wanted`), where none of it was used yet or offered before."""
        block = self._block
        if wanted and block and block.leaf.leaf_id != wanted:
            return None
        if any(near and near.begins_inside for near in (block, self._following)):
            return None  # parts of one file go together: it is looked at again, entry by entry
        if block and self._following is None and block.leaf.size != _size(block):
            return None  # the same, where the stat cache lost what followed
        if block is None or block.partial or self._index or self._tried or not self._offers(block):
            return None
        self._tried = True
        return block

    def _offers(self, block: Block) -> bool:
        tree = block.leaf.place.pack if block.leaf.place else None
        return not self._without or (tree not in self._without and self._without.isdisjoint(block.packs))

    @property
    def at_last(self) -> bool:
        """Whether the next block is the last: it ended with the tree, not where leaves are cut."""
        return self._following is None

    def accept(self) -> None:
        """The block that was offered is reused."""
        self._advance()

    def find(self, path: bytes) -> Row | None:
        """The remembered row of `path`; rows before it are passed over; `passed` has sides of databases."""
        return self._pass(path, order(path))

    def following(self) -> bytes | None:
        """What sorts as the next remembered path does (see `order`), or None where there is none."""
        while self._block is not None:
            if self._index < len(self._block.rows):
                return order(self._block.rows[self._index].path)
            self._advance()
        return None

    def pass_all(self) -> None:
        """No path follows."""
        self._pass(None, b"\xff" * 8)

    def _pass(self, path: bytes | None, key: bytes) -> Row | None:
        while self._block is not None:
            rows = self._block.rows
            if self._index >= len(rows):
                self._advance()
                continue
            row = rows[self._index]
            if row.path == path:
                return row
            if order(row.path) > key:
                return None
            if row.path.endswith(SIDES):
                self.passed.append((row.path, self.take()))
            else:
                self._index += 1
        return None

    def take(self) -> Entry | None:
        """The entry of the row that `find` gave, or None where the stat cache is damaged, or a pack of it."""
        parts = Parts()
        position = self._index + (1 if self._block and self._block.begins_inside else 0)
        self._index += 1
        try:
            while self._block is not None:
                leaf, slices = self._decoded(self._block)
                entry = parts.add(leaf, position, slices)
                if entry is not None:
                    return entry if _is_offered(entry, self._without) else None
                self._advance()
                position = 0
        except (StudioError, IndexError):
            self._block = None
        return None

    def _decoded(self, block: Block) -> tuple[Leaf, list[slice]]:
        if self._leaf is None:
            leaf = leaves.decode(self._state.leaf_object(block), block.leaf.leaf_id)
            self._leaf = (leaf, list(leaf.chunk_slices()))
        return self._leaf


def _size(block: Block) -> int:
    """The bytes of the files that begin in a leaf, which is the leaf's size where no file goes on in another."""
    return sum(row.size for row in block.rows if row.kind in (EntryKind.FILE, EntryKind.EXECUTABLE))


class Parent:
    """The version that the next one follows, read as far as it is needed.

    Nothing that lies in packs of `without` is offered: they are damaged, or the collector is about to delete them. One
    that is not `readable`, since its tree is damaged, offers nothing at all. `last`: the last number that was used.
    """

    def __init__(
        self,
        store: Store,
        version: Version | None,
        without: frozenset[PackId] = frozenset(),
        *,
        readable: bool = True,
        last: int = 0,
    ) -> None:
        self._store = store
        self.version = version
        self.last = last
        self.readable = readable
        self._without = without
        self._tree: TreeReader | None = None
        self._learnt: set[int] = set()

    @property
    def tree(self) -> TreeReader | None:
        """Its tree; None where there is no parent, or none that can be read."""
        if self._tree is None and self.version is not None and self.readable:
            self._tree = TreeReader(self._store, self.version)
        return self._tree

    @cached_property
    def packs(self) -> frozenset[PackId]:
        """The data packs that it uses."""
        return frozenset(self.tree.root.packs) - self._without if self.tree else frozenset()

    @property
    def named(self) -> frozenset[PackId]:
        """All packs that its record names, of data and of trees, those of `without` as well."""
        return self.tree.named if self.tree else frozenset()

    def owns(self, pack: PackId) -> bool:
        """Whether it uses `pack`."""
        return pack in self.packs

    @cached_property
    def places(self) -> dict[LeafId, Place]:
        """Where its leaves lie; a leaf says itself where its chunks lie, so with `without` none can be taken."""
        if self.tree is None or self._without:
            return {}
        return {row.leaf_id: row.place for row in self.tree.root.leaves if row.place}

    def learn(self, path: bytes) -> None:
        """Tell the catalog the chunks of the leaves around `path`: it, or its neighbours, were captured before.

        A store that is away costs what would have been found: the chunks are stored once more. So does a leaf that
        cannot be read where packs are being deleted.
        """
        with suppress(StudioError if self._without else StoreUnavailableError):
            for index in self._around(path):
                if index not in self._learnt and self.tree is not None:
                    self._learnt.add(index)
                    learn(self._store, self.tree.leaf(index), self._without)

    def entry(self, path: bytes) -> Entry | None:
        """The file at `path` in it."""
        parts = Parts()
        for index in self._around(path):
            leaf = self.tree.leaf(index) if self.tree else leaves.Leaf()
            slices = list(leaf.chunk_slices())
            for position, found in enumerate(leaf.paths):
                if found == path and (entry := parts.add(leaf, position, slices)) is not None:
                    return entry if _is_offered(entry, self._without) else None
        return None

    def _around(self, path: bytes) -> Iterator[int]:
        """The leaves that may hold `path`: the last that begins before it, and those that begin with it."""
        if self.tree is None:
            return
        rows = self.tree.root.leaves
        key = order(path)
        first = bisect_right(rows, key, key=lambda row: order(row.first_path)) - 1
        start = first
        while start > 0 and rows[start].first_path == path:
            start -= 1
        yield from range(max(0, start), first + 1)


def learn(store: Store, leaf: Leaf, without: frozenset[PackId]) -> None:
    """Tell the catalog where the chunks of `leaf` lie that are in no pack of `without`."""
    pairs = sorted(zip(leaf.ids, leaf.places, strict=True), key=lambda pair: pair[1].pack)
    for pack, group in groupby(pairs, key=lambda pair: pair[1].pack):
        if pack not in without:
            store.catalog.add(pack, list(group))
