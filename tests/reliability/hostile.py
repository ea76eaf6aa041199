"""Manifests made by hand, as nobody's capture makes them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from studio_cas.codec.choose import Codec
from studio_cas.formats import leaf as leaves
from studio_cas.formats import root as roots
from studio_cas.formats.leaf import EntryKind, Leaf, Place
from studio_cas.formats.pack import Kind
from studio_cas.formats.root import LeafRow, Root
from studio_cas.formats.version import Tree, Version
from studio_cas.ids import digest
from studio_cas.store import versions
from studio_cas.store.packing import PackStream

if TYPE_CHECKING:
    from studio_cas.store.store import Store

FOLDER, FILE, EXECUTABLE, LINK = EntryKind.FOLDER, EntryKind.FILE, EntryKind.EXECUTABLE, EntryKind.LINK


def stored(store: Store, *pieces: bytes, codec: int = Codec.RAW) -> list[Place]:
    """Put each piece into a frame of one new pack, as it is; their places."""
    stream = PackStream(store, Kind.DATA, learn=False)
    places = [stream.add([piece], codec, [(digest(piece), len(piece))])[0] for piece in pieces]
    stream.finish()
    stream.close()
    return places


def entry(leaf: Leaf, path: bytes, attribute: int, literal: bytes = b"", size: int | None = None) -> Leaf:
    """Add an entry without chunks."""
    leaf.paths.append(path)
    leaf.attributes.append(attribute)
    leaf.sizes.append((len(literal) if attribute & 15 != LINK else 0) if size is None else size)
    leaf.counts.append(0)
    leaf.literals.append(literal)
    leaf.mtimes.append(10**18)
    return leaf


def chunk(leaf: Leaf, place: Place, length: int, chunk_id: bytes) -> Leaf:
    """Add a chunk to the last entry."""
    leaf.counts[-1] += 1
    leaf.lengths.append(length)
    leaf.ids.append(chunk_id)
    leaf.places.append(place)
    return leaf


def tree(*entries: tuple[object, ...]) -> Leaf:
    """A leaf of entries without chunks."""
    leaf = Leaf()
    for one in entries:
        entry(leaf, *one)  # type: ignore[arg-type]
    return leaf


def publish(store: Store, *made: Leaf, is_file: bool = False, **lies: object) -> Version:
    """Create version 1 of exp/tag from leaves as they are; `lies` replace what root and record say."""
    rows, objects = [], []
    for leaf in made:
        leaf_id, plain = leaves.encode(leaf)
        first = leaf.paths[0] if leaf.paths else b""
        rows.append(LeafRow(leaf_id, len(leaf.paths), min(sum(leaf.sizes), 2**64 - 1), first, None))
        objects.append(plain)
    packs = tuple(sorted({place.pack for leaf in made for place in leaf.places}))
    size = min(sum(row.size for row in rows), 2**64 - 1)
    files = sum(1 for leaf in made for kind in leaf.attributes if kind & 15 in (FILE, EXECUTABLE))
    root = Root(is_file, files, size, tuple(rows), packs)
    encoded = roots.encode(root)
    parts = [encoded, *objects]
    record: dict[str, object] = {
        "experiment": "exp",
        "tag": "tag",
        "number": 1,
        "manifest_id": root.manifest_id(),
        "tree": Tree(roots.embed(encoded, objects), sum(map(len, parts)) + 4 * len(parts)),
        "tree_packs": (),
        "size": size,
        "files": files,
        "stored": 0,
        "time": time.time(),
        "host": "host",
        "user": "user",
        "writer": "00",
        "parent": None,
        "final": False,
        "is_file": is_file,
    }
    version = Version(**(record | lies))  # type: ignore[arg-type]
    return versions.create(store, 1, lambda _: version)
