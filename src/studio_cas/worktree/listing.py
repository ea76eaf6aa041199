"""Look into a version without writing anything: its entries, and the bytes of one file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from studio_cas.errors import CorruptError, NotFoundError, UsageError
from studio_cas.formats.leaf import KIND_MASK, EntryKind
from studio_cas.ids import digest
from studio_cas.store.trees import TreeReader
from studio_cas.worktree.pieces import PlacedChunk, read_pieces
from studio_cas.worktree.remembered import Parts, order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from studio_cas.formats.version import Version
    from studio_cas.ids import LeafId
    from studio_cas.store.store import Store
    from studio_cas.worktree.remembered import Entry

KINDS: dict[int, Literal["folder", "file", "link"]] = {0: "folder", 1: "file", 2: "file", 3: "link"}
READ_CHUNKS = 32


@dataclass(frozen=True, slots=True)
class EntryHead:
    """An entry of a version, without what is in it. `size` in bytes, 0 for folders and links."""

    path: bytes
    kind: Literal["folder", "file", "link"]
    size: int
    executable: bool
    mtime_ns: int
    target: bytes


@dataclass(frozen=True, slots=True)
class ListedEntry(EntryHead):
    """An entry of a version; `content` tells files apart."""

    content: bytes


def entries(store: Store, version: Version, path: bytes = b"") -> Iterator[ListedEntry]:
    """The entries of `version` at and below `path`, in order of path. Raises NotFoundError (no such path)."""
    prefix = path + b"/"
    found = not path
    for entry in entries_of(TreeReader(store, version)):
        if not path or entry.path == path or entry.path.startswith(prefix):
            found = True
            yield entry
        elif found and order(entry.path) > order(prefix):
            break
    if not found:
        raise NotFoundError(_missing(version, path))


def entries_of(tree: TreeReader, without: Collection[LeafId] = ()) -> Iterator[ListedEntry]:
    """All entries of a tree, but those of the leaves `without` that begin no file of another leaf."""
    rows = tree.root.leaves
    parts = Parts()
    inside = False
    for index, row in enumerate(rows):
        continues = index + 1 < len(rows) and rows[index + 1].first_path == row.first_path and row.entries == 1
        if row.leaf_id in without and not inside and not continues:
            continue
        leaf = tree.leaf(index)
        slices = list(leaf.chunk_slices())
        for position, path in enumerate(leaf.paths):
            entry = parts.add(leaf, position, slices)
            inside = entry is None
            if entry is not None:
                parts = Parts()
                yield _listed(path, entry)


def _listed(path: bytes, entry: Entry) -> ListedEntry:
    link = entry.kind == EntryKind.LINK
    content = b"" if link else digest(b"".join(entry.chunks.ids)) if entry.chunks else entry.literal
    target = entry.literal if link else b""
    executable = entry.kind == EntryKind.EXECUTABLE
    return ListedEntry(path, KINDS[entry.kind], entry.size, executable, entry.mtime_ns, target, content)


def read_file(store: Store, version: Version, path: bytes, start: int = 0) -> Iterator[bytes]:
    """The bytes of one file from offset `start` on, verified, in pieces; a single-file artifact needs no `path`.

    What lies before `start` is not fetched, but for the beginning of a chunk that reaches beyond it.
    Raises NotFoundError, UsageError (a folder or a link), CorruptError.
    """
    tree = TreeReader(store, version)
    if not path and version.is_file:
        path = tree.root.leaves[0].first_path
    found = False
    for index, row in enumerate(tree.root.leaves):
        if order(row.first_path) > order(path):
            break
        following = tree.root.leaves[index + 1 : index + 2]
        if following and order(following[0].first_path) < order(path):
            continue
        leaf = tree.leaf(index)
        slices = list(leaf.chunk_slices())
        for position, name in enumerate(leaf.paths):
            if name != path:
                continue
            found = True
            if leaf.attributes[position] & KIND_MASK not in (EntryKind.FILE, EntryKind.EXECUTABLE):
                message = f"{version.name}: {os.fsdecode(path)} is a folder or a link, and no file"
                raise UsageError(message)
            yield leaf.literals[position][start:]
            start = max(0, start - len(leaf.literals[position]))
            part = slices[position]
            chunks = list(map(PlacedChunk, leaf.ids[part], leaf.lengths[part], leaf.places[part]))
            before, start = _skip(chunks, start)
            for piece in _chunks(store, version, path, chunks[before:]):
                yield piece[start:]
                start = 0
    if not found:
        raise NotFoundError(_missing(version, path))


def _skip(chunks: list[PlacedChunk], start: int) -> tuple[int, int]:
    """How many chunks lie before offset `start`, and how many bytes of it are left after them."""
    before = 0
    while before < len(chunks) and chunks[before].length <= start:
        start -= chunks[before].length
        before += 1
    return before, start


def _chunks(store: Store, version: Version, path: bytes, chunks: list[PlacedChunk]) -> Iterator[bytes]:
    for start in range(0, len(chunks), READ_CHUNKS):
        batch = chunks[start : start + READ_CHUNKS]
        pieces = read_pieces(store, batch)
        for chunk in batch:
            try:
                yield pieces.take(chunk)
            except CorruptError as error:
                message = f"{version.name}: {os.fsdecode(path)}: {error}"
                raise type(error)(message) from error


def _missing(version: Version, path: bytes) -> str:
    return f"{version.name} has no path {os.fsdecode(path)!r}: `studio ls {version.name}` lists what it has"
