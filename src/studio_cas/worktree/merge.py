"""Merge the small packs of a version before it is committed: their chunks are copied, and the leaves say so.

The tree that was just built is written once more from its stat cache, block by block: leaves that name a merged pack
get the new places, leaves in merged tree packs get a new place themselves, all others stay as they are. Ids do not
change.
Nothing is deleted: the old packs serve the old versions, until the collector finds that nothing does.

Merging may fail (the store cannot be read, the stat cache could not be written); the version is then committed as it
was built. A pack that is found damaged or gone is remembered, and the capture begins anew: it reads the files again
whose chunks lie there.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from studio_cas.errors import StudioError
from studio_cas.formats import leaf as leaves
from studio_cas.store import damage, merging
from studio_cas.store.merging import Used
from studio_cas.worktree import repack
from studio_cas.worktree.repack import DamagedError, Source
from studio_cas.worktree.tree_writer import TreeWriter

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from studio_cas.formats.leaf import Leaf, Place
    from studio_cas.formats.root import Root
    from studio_cas.ids import PackId
    from studio_cas.store.ingest import Ingest
    from studio_cas.store.store import Store
    from studio_cas.worktree.statcache import Block, StateReader
    from studio_cas.worktree.state_writer import StateWriter


class Merge:
    """One capture's merging. `tree` and `state` are those to commit."""

    def __init__(self, store: Store, ingest: Ingest, tree: TreeWriter, state: StateWriter) -> None:
        self._store = store
        self._ingest = ingest
        self.tree = tree
        self.state = state
        self._opened = ExitStack()

    def run(self, artifact: str, root: Root, now: float) -> Root:
        """The root to commit: `root`, or where packs of `artifact` are worth merging, the same with other places.

        Raises DamagedError.
        """
        packs, trees = self._chosen(artifact, root, now)
        if not packs and not trees:
            return root
        try:
            return self._merge(root, packs, trees)
        except StudioError:
            return root

    def _chosen(self, artifact: str, root: Root, now: float) -> tuple[set[PackId], set[PackId]]:
        """The data packs and the tree packs to merge."""
        trees: dict[PackId, int] = {}
        for row in root.leaves:
            if row.place:
                trees[row.place.pack] = trees.get(row.place.pack, 0) + row.place.stored
        policy = self._store.merging
        own = {*self._ingest.data.packs, *self._ingest.trees.packs}
        chosen: list[set[PackId]] = []
        for used in (self.tree.packs, trees):
            older = [pack for pack in used if pack not in own]
            if len(older) < 2:
                chosen.append(set())
                continue
            made = self._store.catalog.made(artifact, (pack for pack in older if used[pack] < policy.small))
            kept = damage.known(self._store) | self._store.absent()
            known = [Used(pack, used[pack], made.get(pack)) for pack in older if pack not in kept]
            chosen.append(set(merging.choose(known, now, policy)))
        return chosen[0], chosen[1]

    def _merge(self, root: Root, packs: set[PackId], trees: set[PackId]) -> Root:
        written, state = self.state.successor()
        self._opened.callback(self.state.abandon)
        self._opened.callback(written.close)
        self._opened.callback(state.abandon)
        try:
            places = repack.copy(self._store, self._ingest, _wanted(written, packs))
        except DamagedError as error:
            damage.remember(self._store, error.packs)
            raise
        for pack in packs:
            self._store.recent.drop(pack)
        tree = TreeWriter(self._ingest, state, lambda _: None)
        for block in written.blocks():
            _rewrite(tree, written, block, places, packs, trees)
        merged = tree.finish(is_file=root.is_file)
        if merged.manifest_id() != root.manifest_id():  # the disk lost a part of the stat cache
            return root
        self.tree, self.state = tree, state
        return merged

    def close(self) -> None:
        """Close and remove what is not needed any more."""
        self._opened.close()


def _leaf(state: StateReader, block: Block) -> Leaf:
    return leaves.decode(state.leaf_object(block), block.leaf.leaf_id)


def _wanted(state: StateReader, packs: AbstractSet[PackId]) -> dict[bytes, Source]:
    """The chunks that lie in `packs`, in the order in which a pull reads them."""
    wanted: dict[bytes, Source] = {}
    for block in state.blocks():
        if packs.isdisjoint(block.packs):
            continue
        leaf = _leaf(state, block)
        for chunk_id, length, place in zip(leaf.ids, leaf.lengths, leaf.places, strict=True):
            if place.pack in packs:
                wanted.setdefault(chunk_id, Source(place, length))
    return wanted


def _rewrite(
    tree: TreeWriter,
    state: StateReader,
    block: Block,
    places: dict[bytes, Place],
    packs: AbstractSet[PackId],
    trees: AbstractSet[PackId],
) -> None:
    """Add one leaf to `tree`, with new places where its chunks or itself lie in merged packs. Raises CorruptError."""
    if not packs.isdisjoint(block.packs):
        leaf = _leaf(state, block)
        leaf.places = [
            places.get(chunk_id, place) if place.pack in packs else place
            for chunk_id, place in zip(leaf.ids, leaf.places, strict=True)
        ]
        _, plain = leaves.encode(leaf)
        tree.rewrite(block, leaf.packs(), plain)
    elif block.leaf.place and block.leaf.place.pack in trees:
        tree.rewrite(block, block.packs, state.leaf_object(block))
    else:
        tree.reuse(block, state.leaf_object)
