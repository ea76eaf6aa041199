"""Where chunks that a pull wants lie on this machine already: in the destination, and in the blobcache.

What is told here may be wrong by the time it is used, or may always have been: whoever copies verifies every byte, and
fetches from the store what is not as it was told.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.errors import CorruptError
from studio_cas.formats import leaf as leaves
from studio_cas.formats.leaf import CONTINUATION
from studio_cas.worktree import statcache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.formats.leaf import Leaf
    from studio_cas.store.store import Store

BLOBCACHE = "blobcache"
FOLDERS = 16  # that were used last
CHUNKS = 200_000  # 50 GB of large files; 40 MB of memory
WORTH = 4 * 1024 * 1024  # bytes of a pull, below which looking around costs more than it saves


class Lying(NamedTuple):
    """A chunk in a file of this machine: `path` below the open folder `root`, at `offset`."""

    root: int
    path: bytes
    offset: int


class Sources:
    """Finds chunks. `same`: the open folder of the blobcache that holds the very version, or -1.

    Of that one it knows a leaf at a time, so that memory does not grow with the tree.
    """

    def __init__(self, known: dict[bytes, Lying] | None = None) -> None:
        self._known = known or {}
        self._of_leaf: dict[bytes, Lying] = {}
        self._last = (b"", 0)
        self._folders: list[int] = []
        self._same = -1

    def __bool__(self) -> bool:
        return bool(self._known or self._of_leaf)

    def get(self, chunk_id: bytes) -> Lying | None:
        """Where the chunk lies, as far as is known."""
        return self._known.get(chunk_id) or self._of_leaf.get(chunk_id)

    def look_around(self, store: Store, manifest: str, size: int) -> None:
        """Use the folder of the same manifest; where there is none, and `size` bytes are worth it, other folders."""
        root = Path(os.path.abspath(store.home / BLOBCACHE))  # noqa: PTH100 (as its states are named)
        if finished(store, root / manifest).exists():
            self._same = self._open(root / manifest)
        if self._same < 0 and size >= WORTH:
            for folder in _last_used(root):
                if finished(store, folder).exists():
                    self._learn(store, folder)

    def next_leaf(self, leaf: Leaf) -> None:
        """The entries of this leaf are written next."""
        if self._same >= 0:
            self._of_leaf = {}
            self._last = _offer(self._of_leaf, self._same, leaf, self._last)

    def _learn(self, store: Store, folder: Path) -> None:
        state = statcache.StateReader(statcache.path_of(store, folder))
        opened = -1
        last = (b"", 0)
        try:
            for block in state.blocks():
                if len(self._known) > CHUNKS:
                    return
                opened = self._open(folder) if opened < 0 else opened
                if opened >= 0:
                    leaf = leaves.decode(state.leaf_object(block), block.leaf.leaf_id)
                    last = _offer(self._known, opened, leaf, last)
        except CorruptError:
            return  # a cache that is damaged knows less
        finally:
            state.close()

    def _open(self, folder: Path) -> int:
        with suppress(OSError):
            self._folders.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
            return self._folders[-1]
        return -1

    def close(self) -> None:
        """Close the folders that `look_around` opened."""
        folders, self._folders, self._same = self._folders, [], -1
        for folder in folders:
            os.close(folder)


def finished(store: Store, folder: Path) -> Path:
    """What says that a folder of the blobcache is complete: what stat said of it when it was built."""
    return statcache.path_of(store, folder).with_suffix(".cached")


def _last_used(root: Path) -> Iterator[Path]:
    try:
        with os.scandir(root) as entries:
            found = [(entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries if _is_cached(entry)]
    except OSError:
        return
    for _, path in sorted(found, reverse=True)[:FOLDERS]:
        yield Path(path)


def _is_cached(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


def _offer(known: dict[bytes, Lying], root: int, leaf: Leaf, last: tuple[bytes, int]) -> tuple[bytes, int]:
    """Add the chunks of a leaf, whose first entry may go on where `last` (path, offset) ended; where the last ends."""
    path, offset = last
    for position, part in enumerate(leaf.chunk_slices()):
        if not leaf.attributes[position] & CONTINUATION:
            path, offset = leaf.paths[position], 0
        for index in range(part.start, part.stop):
            known.setdefault(leaf.ids[index], Lying(root, path, offset))
            offset += leaf.lengths[index]
    return path, offset
