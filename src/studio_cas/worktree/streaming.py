"""A version as one stream: its entries in order of path, each file's bytes after it, verified, without a file.

version → root → leaf → windows of a few MiB, across files → ranged reads → decode → verify → in order

Windows are read ahead by a few threads, so memory is that of a few windows, whatever the size of a file or a folder.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError
from studio_cas.formats.leaf import CONTINUATION, CONTINUED, KIND_MASK, EntryKind, PathOrder
from studio_cas.store.trees import named
from studio_cas.worktree.listing import KINDS, EntryHead
from studio_cas.worktree.pieces import PlacedChunk, read_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from studio_cas.formats.leaf import Leaf
    from studio_cas.worktree.pieces import Pieces
    from studio_cas.worktree.pulling import Pull

WINDOW_BYTES = 8 * 1024 * 1024
WINDOW_ITEMS = 4096
LOCAL_WINDOWS = 3
REMOTE_WINDOWS = 8


_Item = EntryHead | bytes | PlacedChunk


def stream(pull: Pull) -> Iterator[EntryHead | bytes]:
    """What `pull` wants, in order: each entry as it begins, then its verified bytes in pieces.

    Raises CorruptError at the first byte that is not as it was stored, after all those before it; RefusedError.
    """
    local = pull.store.backend.local
    with ThreadPoolExecutor(2 if local else REMOTE_WINDOWS, "export") as pool:
        waiting: deque[tuple[list[_Item], Future[Pieces]]] = deque()
        try:
            for items in _windows(pull):
                chunks = [item for item in items if isinstance(item, PlacedChunk)]
                waiting.append((items, pool.submit(read_pieces, pull.store, chunks)))
                if len(waiting) >= (LOCAL_WINDOWS if local else REMOTE_WINDOWS):
                    yield from _emitted(pull, *waiting.popleft())
            while waiting:
                yield from _emitted(pull, *waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()


def _emitted(pull: Pull, items: list[_Item], future: Future[Pieces]) -> Iterator[EntryHead | bytes]:
    pieces = future.result()
    for item in items:
        if not isinstance(item, PlacedChunk):
            yield item
            continue
        with named(pull.version):
            piece = pieces.take(item)
        yield piece


def _windows(pull: Pull) -> Iterator[list[_Item]]:
    items: list[_Item] = []
    size = 0
    for item in _items(pull):
        items.append(item)
        size += item.length if isinstance(item, PlacedChunk) else 0
        if size >= WINDOW_BYTES or len(items) >= WINDOW_ITEMS:
            yield items
            items, size = [], 0
    if items:
        yield items


def _items(pull: Pull) -> Iterator[_Item]:
    checker = PathOrder()
    for index in range(len(pull.tree.root.leaves)):
        leaf = pull.tree.leaf(index)
        slices = list(leaf.chunk_slices())
        for position, name in pull.names(leaf, checker):
            part = slices[position]
            _check_size(pull, leaf, position, part)
            if not leaf.attributes[position] & CONTINUATION:
                yield _begun(pull, index, leaf, position, name)
            if leaf.literals[position] and leaf.attributes[position] & KIND_MASK != EntryKind.LINK:
                yield leaf.literals[position]
            yield from map(PlacedChunk, leaf.ids[part], leaf.lengths[part], leaf.places[part])


def _check_size(pull: Pull, leaf: Leaf, position: int, part: slice) -> None:
    kind = leaf.attributes[position] & KIND_MASK
    stored = 0 if kind == EntryKind.LINK else len(leaf.literals[position])
    if sum(leaf.lengths[part]) + stored != leaf.sizes[position] or (part.start != part.stop and stored):
        message = f"{pull.name}: {os.fsdecode(leaf.paths[position])}: its chunks do not add up to its size"
        raise CorruptError(message)


def _begun(pull: Pull, index: int, leaf: Leaf, position: int, name: bytes) -> EntryHead:
    attribute = leaf.attributes[position]
    kind = attribute & KIND_MASK
    size = leaf.sizes[position]
    if attribute & CONTINUED:
        size += _rest(pull, index, leaf.paths[position])
    target = leaf.literals[position] if kind == EntryKind.LINK else b""
    return EntryHead(name, KINDS[kind], size, kind == EntryKind.EXECUTABLE, leaf.mtimes[position], target)


def _rest(pull: Pull, index: int, path: bytes) -> int:
    """The size of the later parts of the file at `path`, which begins in leaf `index`: only the last leaf is read."""
    rows = pull.tree.root.leaves
    last = index + 1
    while last + 1 < len(rows) and rows[last].entries == 1 and rows[last + 1].first_path == path:
        last += 1
    ending = pull.tree.leaf(last)
    return sum(row.size for row in rows[index + 1 : last]) + ending.sizes[0]
