"""Copy a version from one store to another: only chunks that are missing there, verified; the same manifest id.

plan (which chunks are missing, by pack) → whole packs → for each leaf: its other chunks, and the leaf with the places
that they have there → version record, which keeps its times, and its number where that is free

What a copy that was interrupted has created stands in this machine's catalog of the target, and is taken from there.
The commit follows the writer's side of the protocol (docs/concurrency.md). A pack that is used and was not made just
now is looked for: the catalog may name one that is gone.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal

from studio_cas.errors import CorruptError, NotFoundError, TransientError
from studio_cas.formats import leaf as leaves
from studio_cas.formats.leaf import CONTINUATION, KIND_MASK
from studio_cas.moving.wanted import WantedChunks
from studio_cas.moving.whole_packs import copy_packs
from studio_cas.progress import Silent
from studio_cas.store import damage, guard, signing, versions
from studio_cas.store.footers import read_footer
from studio_cas.store.guard import CondemnedError
from studio_cas.store.ingest import Ingest
from studio_cas.store.trees import TreeReader, named
from studio_cas.store.verifying import check_source
from studio_cas.worktree import repack
from studio_cas.worktree.remembered import Parent
from studio_cas.worktree.repack import DamagedError, Source
from studio_cas.worktree.state_writer import Nothing
from studio_cas.worktree.tree_writer import FILES, TreeWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.formats.leaf import Leaf, Place
    from studio_cas.formats.root import LeafRow, Root
    from studio_cas.formats.version import Version
    from studio_cas.ids import PackId
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store

COMMIT_ATTEMPTS = 3
BATCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CopiedVersion:
    """What became of version `source_number` of an artifact. `number`: its number in the target, 0 where it failed.

    `size` in plain bytes; `stored`: bytes that were added to the target; `packs`: how many were copied whole; `reason`:
    why it failed. "missing" is what a copy would copy.
    """

    experiment: str
    tag: str
    source_number: int
    state: Literal["copied", "there", "failed", "missing"]
    number: int = 0
    size: int = 0
    stored: int = 0
    packs: int = 0
    reason: str = ""


def copy_version(source: Store, target: Store, version: Version, progress: Progress | None = None) -> CopiedVersion:
    """Make `version` of `source` a version of `target`, under its number or the next free one.

    Nothing is done where the same capture is there already. Raises CorruptError where the source is damaged: then the
    target has no such version; and what the stores raise.
    """
    version, origin = check_source(source, version, signing=target.signer is not None)
    there = _counterpart(target, version)
    if there is not None:
        return CopiedVersion(
            version.experiment, version.tag, version.number, "there", number=there.number, size=version.size
        )
    without = damage.known(target)
    for _ in range(COMMIT_ATTEMPTS):
        with closing(_Copy(source, target, version, progress or Silent(), without, origin)) as work, named(version):
            try:
                return work.run()
            except DamagedError as error:
                raise CorruptError(f"{source.url}: {error}") from error
            except CondemnedError as error:
                without |= error.packs
                target.catalog.forget(without)
    message = f"{version.name}: packs of {target.url} were removed while they were used, {COMMIT_ATTEMPTS} times"
    raise TransientError(f"{message}: try again")


def missing_chunks(source: Store, target: Store | None, version: Version) -> int | Iterator[list[Place]]:
    """Where the chunks lie that a copy of `version` would read, leaf by leaf; or its number, where it is there already.

    `target` is None where there is no such store yet.
    """
    if target is None:
        return _every_chunk(source, version)
    there = _counterpart(target, version)
    return there.number if there is not None else _missing_chunks(source, target, version)


def _every_chunk(source: Store, version: Version) -> Iterator[list[Place]]:
    with named(version):
        for _, leaf in TreeReader(source, version).leaves():
            yield leaf.places


def _missing_chunks(source: Store, target: Store, version: Version) -> Iterator[list[Place]]:
    with closing(_Copy(source, target, version, Silent(), damage.known(target), None)) as work, named(version):
        for missing in work.missing():
            yield [place for place, _ in missing]


def _counterpart(target: Store, version: Version) -> Version | None:
    """The version of `target` that comes from the same capture: under the same number, or else under any."""
    try:
        same = versions.read(target, version.experiment, version.tag, version.number)
    except NotFoundError:
        return None
    for found in chain([same], versions.list_versions(target, version.experiment, version.tag)):
        if (found.writer, found.manifest_id) == (version.writer, version.manifest_id) and _is_whole(target, found):
            return found
    return None


def _is_whole(target: Store, version: Version) -> bool:
    """Whether all packs of a version that is there are there: whoever copied it may have died before he looked."""
    try:
        guard.check_version(target, version, lambda: TreeReader(target, version).named)
    except (CondemnedError, CorruptError):
        return False
    return True


class _Copy:
    """One copy while it runs; it uses no pack of `without` in the target."""

    def __init__(
        self,
        source: Store,
        target: Store,
        version: Version,
        progress: Progress,
        without: frozenset[PackId],
        origin: str | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._version = version
        self._progress = progress
        self._without = without
        self._origin = origin
        self._tree = TreeReader(source, version)
        self._parent = Parent(target, versions.latest(target, version.experiment, version.tag), without)
        self._ingest = Ingest(target, self._parent.owns, without)
        self._writer = TreeWriter(self._ingest, Nothing(), lambda _: None)
        self._whole: set[PackId] = set()
        self._stored = 0
        self._in_parent = {
            row.leaf_id: index for index, row in enumerate(self._parent.tree.root.leaves if self._parent.tree else ())
        }

    def run(self) -> CopiedVersion:
        """Copy, and create the version. Raises CondemnedError, DamagedError."""
        self._progress.start(f"copy {self._version.name}", self._version.size)
        wanted = self._plan()
        self._copy_whole(wanted)
        for index, row in enumerate(self._tree.root.leaves):
            self._copy_leaf(index, row)
            self._progress.advance(0, row.entries)
        root = self._writer.finish(is_file=self._version.is_file)
        if root.manifest_id() != self._version.manifest_id:
            message = "its leaves are not those of its manifest id"
            raise CorruptError(message)
        made = self._commit(root)
        return CopiedVersion(
            made.experiment,
            made.tag,
            self._version.number,
            "copied",
            number=made.number,
            size=made.size,
            stored=made.stored,
            packs=len(self._whole),
        )

    def _plan(self) -> WantedChunks:
        wanted = WantedChunks()
        for missing in self.missing():
            for place, length in missing:
                wanted.add(place, length)
        return wanted

    def missing(self) -> Iterator[list[tuple[Place, int]]]:
        """Of each leaf the chunks that the target lacks: where they lie, and their plain lengths."""
        for index, row in enumerate(self._tree.root.leaves):
            if self._is_there(row):
                continue
            leaf = self._tree.leaf(index)
            self._parent.learn(leaf.paths[0])
            self._parent.learn(leaf.paths[-1])
            known = self._known(leaf.ids)
            chunks = zip(leaf.ids, leaf.lengths, leaf.places, strict=True)
            yield [(place, length) for chunk_id, length, place in chunks if chunk_id not in known]

    def _is_there(self, row: LeafRow) -> bool:
        """Whether the target's latest version has this very leaf, and it may be used as it lies."""
        return row.leaf_id in self._in_parent and row.leaf_id in self._parent.places

    def _known(self, ids: list[bytes]) -> dict[bytes, Place]:
        found = self._target.catalog.lookup(ids)
        missing = [chunk_id for chunk_id in ids if chunk_id not in found]
        if missing:
            found |= self._ingest.hooks.neighbours(missing)
        return {chunk_id: place for chunk_id, place in found.items() if place.pack not in self._without}

    def _copy_whole(self, wanted: WantedChunks) -> None:
        def is_wanted(pack: PackId) -> bool:
            return wanted.all_of(pack, (place for _, place in read_footer(self._source, pack)))

        for copied in copy_packs(self._source, self._target, wanted.packs(), is_wanted):
            self._whole.add(copied.pack_id)
            self._stored += copied.size
            for number, (chunk_id, _) in enumerate(copied.chunks):
                self._ingest.hooks.add(chunk_id, copied.pack_id, first=not number)
            self._progress.advance(copied.size)

    def _copy_leaf(self, index: int, row: LeafRow) -> None:
        if self._is_there(row) and self._parent.tree is not None:
            leaf = self._parent.tree.leaf(self._in_parent[row.leaf_id])
            there = replace(row, place=self._parent.places[row.leaf_id])
            self._writer.adopt(there, _files(leaf), leaf.packs(), b"")
            return
        leaf = self._tree.leaf(index)
        places = self._known(leaf.ids)
        places |= {chunk_id: place for chunk_id in leaf.ids if (place := self._ingest.data.placed.get(chunk_id))}
        for batch in _batches(leaf, places):
            places |= repack.copy(self._source, self._ingest, batch)
            self._progress.advance(sum(source.length for source in batch.values()))
        leaf.places = [places[chunk_id] for chunk_id in leaf.ids]
        leaf_id, plain = leaves.encode(leaf)
        self._writer.adopt(replace(row, leaf_id=leaf_id, place=None), _files(leaf), leaf.packs(), plain)

    def _commit(self, root: Root) -> Version:
        tree = self._writer.store(root)
        self._ingest.finish()
        self._stored += self._ingest.data.bytes + self._ingest.trees.bytes
        self._ingest.hooks.publish(self._stored)
        tree_packs = {row.place.pack for row in root.leaves if row.place}
        if tree.place:
            tree_packs.add(tree.place.pack)
        version = self._version

        def record(number: int) -> Version:
            parent = version.parent if number == version.number else number - 1
            sorted_packs = tuple(sorted(tree_packs))
            return replace(
                version, number=number, parent=parent, tree=tree, tree_packs=sorted_packs, stored=self._stored
            )

        packs = {*root.packs, *tree_packs}
        own = {*self._ingest.data.packs, *self._ingest.trees.packs, *self._whole}
        adopted = packs - own - (self._parent.named - self._without)

        def create() -> Version:
            if gone := guard.missing(self._target, adopted):  # they are pinned
                raise CondemnedError(gone)
            return versions.create(self._target, version.number, record, self._seal)

        return guard.commit_version(self._target, packs, frozenset(adopted), create)

    def _seal(self, target: Store, made: Version, record: bytes) -> bytes:
        """Only what its own signer vouches for is signed; a copy of anything else stays unsigned."""
        return signing.signed(target, made, record, self._origin) if self._origin else record

    def close(self) -> None:
        """Stop the threads."""
        self._progress.finish()
        self._ingest.close()


def _files(leaf: Leaf) -> int:
    """How many files begin in a leaf."""
    return sum(1 for attribute in leaf.attributes if attribute & KIND_MASK in FILES and not attribute & CONTINUATION)


def _batches(leaf: Leaf, known: dict[bytes, Place]) -> Iterator[dict[bytes, Source]]:
    """The chunks of `leaf` that are not `known`, in order, some MiB at a time."""
    batch: dict[bytes, Source] = {}
    size = 0
    for chunk_id, length, place in zip(leaf.ids, leaf.lengths, leaf.places, strict=True):
        if chunk_id in known or chunk_id in batch:
            continue
        batch[chunk_id] = Source(place, length)
        size += length
        if size >= BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch
