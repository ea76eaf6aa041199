"""Entries in, leaves and a root out: cuts leaves by content, keeps unchanged ones, and says where each lies.

Entries come in order of path; their chunks may still be on the way into packs, so they wait in a queue until they have
places. Leaves of a small tree are held back: with the root they fit into the version record.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.codec import zstd
from studio_cas.codec.choose import Codec
from studio_cas.errors import CorruptError
from studio_cas.formats import leaf as leaves
from studio_cas.formats import root as roots
from studio_cas.formats.leaf import EntryKind, Leaf
from studio_cas.formats.root import LeafRow, Root
from studio_cas.formats.version import Tree
from studio_cas.ids import digest
from studio_cas.worktree.statcache import INSIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from studio_cas.chunking.profile import Profile
    from studio_cas.formats.leaf import Place
    from studio_cas.ids import LeafId, PackId
    from studio_cas.store.chunks import Chunks
    from studio_cas.store.ingest import Ingest
    from studio_cas.worktree.scan import Row
    from studio_cas.worktree.statcache import Block
    from studio_cas.worktree.state_writer import Nothing, StateWriter

QUEUE_LIMIT = 8192
FILES = (EntryKind.FILE, EntryKind.EXECUTABLE)


class Item(NamedTuple):
    """An entry on its way into a leaf. `remembered` is its row in the stat cache."""

    path: bytes
    kind: int
    profile: Profile
    size: int
    mtime_ns: int
    literal: bytes
    chunks: Chunks | None
    remembered: Row


class Held(NamedTuple):
    """A leaf whose place is not decided: its row, what the stat cache keeps of it, and its bytes."""

    row: LeafRow
    files: int
    rows: Sequence[Row]
    packs: dict[PackId, int]
    plain: bytes
    inside: bool


class TreeWriter:
    """Builds the tree of one capture. `known` gives the place of a leaf that is in the store already.

    `packs`: the data packs that it uses, and how many stored bytes of each.
    """

    def __init__(self, ingest: Ingest, state: StateWriter | Nothing, known: Callable[[LeafId], Place | None]) -> None:
        self._ingest = ingest
        self._state = state
        self._known = known
        self._queue: deque[Item] = deque()
        self._entries: list[tuple[Item, int, slice]] = []
        self._rows: list[Row] = []
        self._literal_bytes = 0
        self._chunk_count = 0
        self._held: list[Held] | None = []
        self._blocks: list[Block | None] = []
        self._held_bytes = 0
        self._embedded: list[bytes] = []
        self._leaves: list[LeafRow] = []
        self.packs: Counter[PackId] = Counter()
        self.files = 0
        self.size = 0
        self.entries = 0

    @property
    def at_boundary(self) -> bool:
        """Whether the next entry begins a leaf."""
        return not self._queue and not self._entries

    def add(self, *items: Item) -> None:
        """The next entries."""
        self._queue.extend(items)
        if len(self._queue) > QUEUE_LIMIT:
            self._ingest.flush()
        self._drain()

    def settle(self) -> None:
        """Wait until all entries have places, so that `at_boundary` is exact."""
        if self._queue:
            self._ingest.flush()
            self._drain()

    def _drain(self) -> None:
        queue = self._queue
        while queue and (queue[0].chunks is None or not queue[0].chunks.pending):
            self._append(queue.popleft())

    def _append(self, item: Item) -> None:
        self._rows.append(item.remembered)
        if item.kind in FILES:
            self.files += 1
            self.size += item.size
        chunks = item.chunks
        if chunks is None or len(chunks.ids) <= leaves.PART_MINIMUM:
            self._entry(item, item.kind, slice(0, len(chunks.ids) if chunks else 0))
            return
        start = 0
        continuation = 0
        while True:
            end = _part_end(chunks.ids, start)
            continued = leaves.CONTINUED if end < len(chunks.ids) else 0
            self._entry(item, item.kind | continuation | continued, slice(start, end))
            if not continued:
                return
            start = end
            continuation = leaves.CONTINUATION

    def _entry(self, item: Item, attribute: int, part: slice) -> None:
        entries = self._entries
        entries.append((item, attribute, part))
        self._literal_bytes += len(item.literal)
        self._chunk_count += part.stop - part.start
        count = len(entries)
        if (
            attribute & leaves.CONTINUED
            or (count >= leaves.CUT_MINIMUM and zlib.crc32(item.path) & leaves.CUT_MASK == leaves.CUT_MASK)
            or count >= leaves.ENTRY_LIMIT
            or self._chunk_count >= leaves.CHUNK_LIMIT
            or self._literal_bytes >= leaves.LITERAL_LIMIT
        ):
            self._cut()

    def _cut(self) -> None:
        entries, rows = self._entries, self._rows
        self._entries, self._rows, self._literal_bytes, self._chunk_count = [], [], 0, 0
        leaf = _leaf_of(entries)
        leaf_id, plain = leaves.encode(leaf)
        place = self._known(leaf_id)
        files = sum(1 for row in rows if row.kind in FILES)
        row = LeafRow(leaf_id, len(leaf.paths), sum(leaf.sizes), leaf.paths[0], place)
        inside = bool(leaf.attributes[0] & leaves.CONTINUATION)
        self._hold(Held(row, files, rows, leaf.packs(), plain, inside))

    def reuse(self, block: Block, read_object: Callable[[Block], bytes]) -> bool:
        """An unchanged leaf, as the stat cache knows it; False where that is damaged."""
        plain = b""
        if block.leaf.place is None:
            try:
                plain = read_object(block)
            except CorruptError:
                return False
        self.files += block.files
        self.size += block.leaf.size
        if plain or self._held:
            self._hold(Held(block.leaf, block.files, block.rows, block.packs, plain, block.begins_inside), block)
        else:
            self.packs.update(block.packs)
            self._leaves.append(block.leaf)
            self._state.reuse(block)
        return True

    def rewrite(self, block: Block, packs: dict[PackId, int], plain: bytes) -> None:
        """A leaf of the state under a new place; `plain` is its object, whose chunks may have moved to `packs`."""
        self.files += block.files
        self.size += block.leaf.size
        row = replace(block.leaf, place=None)
        self._hold(Held(row, block.files, block.rows, packs, plain, block.begins_inside))

    def adopt(self, row: LeafRow, files: int, packs: dict[PackId, int], plain: bytes) -> None:
        """A leaf of another tree: one that is in the store, at the place of `row`, or its object `plain`."""
        self.files += files
        self.size += row.size
        self._hold(Held(row, files, [], packs, plain, inside=False))

    def _hold(self, held: Held, block: Block | None = None) -> None:
        if self._held is not None:
            self._held.append(held)
            self._blocks.append(block)
            self._held_bytes += len(held.plain) if held.row.place is None else 0
            if self._held_bytes > roots.INLINE_LIMIT:
                self._release(embed=False)
            return
        self._place(held, block, embed=False)

    def _release(self, *, embed: bool) -> None:
        held, self._held = self._held or [], None
        for item, block in zip(held, self._blocks, strict=True):
            self._place(item, block, embed=embed)

    def _place(self, held: Held, block: Block | None, *, embed: bool) -> None:
        row = held.row
        stored = b""
        if block is None or row.place is None:
            stored = zstd.compress(held.plain, zstd.DENSE_LEVEL, checksum=True)
        if row.place is None and not embed:
            (place,) = self._ingest.trees.add([stored], Codec.ZSTD, [(digest(held.plain), len(held.plain))])
            row = replace(row, place=place)
            block = None
        if row.place is None:
            self._embedded.append(held.plain)
        self.packs.update(held.packs)
        self._leaves.append(row)
        if block is not None:
            self._state.reuse(block)
        else:
            flags = INSIDE if held.inside else 0
            self._state.add(row, held.files, held.rows, held.packs, stored, len(held.plain), flags)

    def finish(self, *, is_file: bool) -> Root:
        """The root of the tree; every leaf has a place or waits to be embedded."""
        self._ingest.flush()
        self._drain()
        if self._entries:
            self._cut()
        if self._held is not None:
            self._release(embed=self._root_fits())
        return Root(is_file, self.files, self.size, tuple(self._leaves), tuple(sorted(self.packs)))

    def _root_fits(self) -> bool:
        """Whether the root will be small enough to stand in the version record, and the held leaves beside it."""
        held = self._held or []
        packs = set(self.packs).union(*(item.packs for item in held))
        rows = (*self._leaves, *(item.row for item in held))
        return (
            len(roots.encode(Root(is_file=False, files=0, size=0, leaves=rows, packs=tuple(packs))))
            <= roots.INLINE_LIMIT
        )

    def store(self, root: Root) -> Tree:
        """Where the version record finds `root`: inside itself where it is small, else in a tree pack."""
        plain = roots.encode(root)
        if len(plain) <= roots.INLINE_LIMIT:
            embedded = [plain, *self._embedded]
            return Tree(roots.embed(plain, self._embedded), sum(map(len, embedded)) + 4 * len(embedded))
        stored = zstd.compress(plain, zstd.DENSE_LEVEL, checksum=True)
        (place,) = self._ingest.trees.add([stored], Codec.ZSTD, [(digest(plain), len(plain))])
        return Tree(place=place)


def _leaf_of(entries: list[tuple[Item, int, slice]]) -> Leaf:
    """The columns of a leaf."""
    leaf = Leaf()
    items = [item for item, _, _ in entries]
    leaf.paths = [item.path for item in items]
    leaf.attributes = bytearray(attribute | item.profile << leaves.PROFILE_SHIFT for item, attribute, _ in entries)
    leaf.literals = [item.literal for item in items]
    leaf.mtimes.extend(leaves.times([item.mtime_ns for item in items]))
    leaf.counts.extend([part.stop - part.start for _, _, part in entries])
    ids, lengths, places = leaf.ids, leaf.lengths, leaf.places
    for item, attribute, part in entries:
        chunks = item.chunks
        size = item.size
        if chunks is not None:
            own = chunks.lengths[part]
            ids += chunks.ids[part]
            lengths.extend(own)
            places += chunks.places[part]
            if attribute & (leaves.CONTINUED | leaves.CONTINUATION):
                size = sum(own)
        leaf.sizes.append(size)
    return leaf


def _part_end(ids: list[bytes], start: int) -> int:
    """Where the part that begins at chunk `start` ends: cut by content, so that an edit moves only its own part."""
    first = start + leaves.PART_MINIMUM
    for index in range(first, min(len(ids), start + leaves.PART_LIMIT)):
        if int.from_bytes(ids[index - 1][-2:], "little") & leaves.PART_MASK == leaves.PART_MASK:
            return index
    return min(len(ids), start + leaves.PART_LIMIT)
