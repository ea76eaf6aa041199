"""Writes what this machine remembers of a folder: the file that `statcache` reads, which tells how it looks."""

from __future__ import annotations

import os
import time
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING

from studio_cas.formats import leaf
from studio_cas.ids import PACK_ID_SIZE, digest
from studio_cas.worktree.statcache import BLOCK, END, HEADER, MAGIC, USED, Block, StateReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from studio_cas.formats.root import LeafRow
    from studio_cas.ids import PackId
    from studio_cas.worktree.scan import Row

ABANDONED_AFTER = 86_400.0  # seconds


class Nothing:
    """What is remembered of a tree that is in no folder of this machine."""

    def reuse(self, block: Block) -> None:
        """Forget it."""

    def add(
        self,
        row: LeafRow,
        files: int,
        rows: Sequence[Row],
        packs: Mapping[PackId, int],
        stored: bytes,
        plain: int,
        flags: int,
    ) -> None:
        """Forget it."""


class StateWriter:
    """Writes the next state beside the old one. `commit` replaces it; without, nothing changes."""

    def __init__(self, path: Path, old: StateReader) -> None:
        self._path = path
        self._old = old
        self._reused: list[tuple[int, int]] = []
        self._file: BinaryIO | None = None
        self._failed = False
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")

    def reuse(self, block: Block) -> None:
        """Keep a block of the old state as it is."""
        if self._reused and self._reused[-1][1] == block.start:
            self._reused[-1] = (self._reused[-1][0], block.end)
        else:
            self._reused.append((block.start, block.end))

    def add(
        self,
        row: LeafRow,
        files: int,
        rows: Sequence[Row],
        packs: Mapping[PackId, int],
        stored: bytes,
        plain: int,
        flags: int,
    ) -> None:
        """A new block. `stored` is the zstd frame of the leaf object of `plain` bytes."""
        self._copy_reused()
        if self._file is None:
            return
        columns = b"".join(
            (
                bytes(entry.kind for entry in rows),
                array("Q", (entry.size for entry in rows)).tobytes(),
                leaf.times([entry.mtime_ns for entry in rows]).tobytes(),
                leaf.times([entry.ctime_ns for entry in rows]).tobytes(),
                array("Q", (entry.inode for entry in rows)).tobytes(),
                array("Q", (entry.device for entry in rows)).tobytes(),
                b"\0".join(entry.path for entry in rows),
                *(USED.pack(pack, size) for pack, size in sorted(packs.items())),
                row.first_path,
            )
        )
        paths_length = sum(len(entry.path) for entry in rows) + max(0, len(rows) - 1)
        place = row.place
        header = HEADER.pack(
            BLOCK,
            len(rows),
            paths_length,
            len(packs),
            len(row.first_path),
            len(stored),
            plain,
            row.leaf_id,
            row.entries,
            row.size,
            files,
            *(place[:4] if place else (bytes(PACK_ID_SIZE), 0, 0, 0)),
            place.codec if place else 0,
            place is not None,
            flags,
            digest(stored),
            bytes(32),
        )
        self._write(header[:-32] + digest(header[:-32] + columns) + columns + stored)

    def _copy_reused(self) -> None:
        if self._file is None and not self._failed:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                _remove_abandoned(self._path)
                self._file = self._temporary.open("wb")
            except OSError:
                self._failed = True
            self._write(MAGIC)
        for start, end in self._reused:
            for piece in self._old.raw(start, end):
                self._write(piece)
        self._reused = []

    def _write(self, data: bytes) -> None:
        """Write, or give up: without a state the next capture reads more, and no more than that."""
        if self._file is None:
            return
        try:
            self._file.write(data)
        except OSError:
            self._failed = True
            self.abandon()

    def successor(self) -> tuple[StateReader, StateWriter]:
        """End what was written: what reads it, and what writes the state that is committed in its place.

        The reader has no block where the disk failed. This writer is abandoned when the other is done.
        """
        self._copy_reused()
        self._write(END)
        reader = StateReader(None)
        with suppress(OSError):
            if self._file is not None:
                self._file.flush()
                reader = StateReader(self._temporary)
        return reader, StateWriter(self._path, reader)

    def commit(self) -> None:
        """Replace the old state, unless nothing changed."""
        if (
            self._file is None
            and self._old.complete
            and sum(end - start for start, end in self._reused) == self._old.length
        ):
            return
        try:
            self._copy_reused()
            self._write(END)
            if self._file is not None:
                self._file.close()
                self._temporary.replace(self._path)
                self._file = None
        except OSError:
            self.abandon()

    def abandon(self) -> None:
        """Drop what was written."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed writers of the state `path` left more than a day ago."""
    oldest = time.time() - ABANDONED_AFTER
    for left in path.parent.glob(f"{path.name}.*"):
        with suppress(OSError):
            if left.stat().st_mtime < oldest:
                left.unlink()
