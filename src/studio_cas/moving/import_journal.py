"""What was imported from one source into one store: a line of JSON each, appended, so that nothing is read twice.

It lies on this machine, under the home. Losing it costs time: what is read again makes no second version.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError, NotFoundError
from studio_cas.formats import keys
from studio_cas.ids import digest
from studio_cas.worktree.fetch import local_errors
from studio_cas.worktree.removal import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.moving.items import Item
    from studio_cas.store.store import Store


@dataclass
class ImportJournal:
    """One import while it runs: what earlier ones did, and a folder to unpack in."""

    store: Store
    path: Path
    staging: Path
    done: dict[str, int]

    def number(self, item: Item) -> int | None:
        """The version that an earlier import made of `item` as it is now, where that is still there."""
        found = self.done.get(_line_key(item)) if item.stamp else None
        if found is None:
            return None
        try:
            self.store.backend.stat(keys.version(item.experiment, item.tag, found))
        except NotFoundError:
            return None
        return found

    def remember(self, item: Item, number: int) -> None:
        """Say that `item` is version `number` now."""
        if not item.stamp:
            return
        self.done[_line_key(item)] = number
        with local_errors(self.path), self.path.open("ab") as file:
            file.write(json.dumps([_line_key(item), number]).encode() + b"\n")

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder, removed afterwards."""
        place = self.staging / os.urandom(8).hex()
        with local_errors(place):
            place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            remove_tree(place)


@contextmanager
def open_journal(store: Store, source: str) -> Iterator[ImportJournal]:
    """The journal of imports from `source`. Raises ConflictError where another import is under way."""
    folder = store.home / "imports"
    name = digest(f"{store.config.store_id}\0{source}".encode()).hex()[:32]
    with local_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another import from {source} is under way: wait for it"
            raise ConflictError(message) from error
        staging = folder / f"{name}.staging"
        remove_tree(staging)  # what a killed import left
        with local_errors(staging):
            staging.mkdir(mode=0o700)
        yield ImportJournal(store, folder / f"{name}.jsonl", staging, _read(folder / f"{name}.jsonl"))
        with suppress(OSError):
            staging.rmdir()
    finally:
        os.close(lock)


def _read(path: Path) -> dict[str, int]:
    """The lines; one that a crash cut off is passed over."""
    done: dict[str, int] = {}
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                key, number = json.loads(line)
                done[str(key)] = int(number)
    return done


def _line_key(item: Item) -> str:
    stamp = item.stamp if len(item.stamp) <= 100 else digest(item.stamp.encode()).hex()
    return json.dumps([item.name, item.experiment, item.tag, stamp])
