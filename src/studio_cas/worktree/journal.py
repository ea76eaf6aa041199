"""Which versions a pull was putting into a destination when it stopped: files of theirs there are ours to replace."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from studio_cas.errors import StudioError
from studio_cas.store import versions
from studio_cas.worktree import statcache
from studio_cas.worktree.remembered import Parent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store
    from studio_cas.worktree.remembered import Entry


class Journal:
    """One line a pull that began to change the destination, in this machine's cache; gone when one of them ended."""

    def __init__(self, store: Store, destination: Path) -> None:
        self._store = store
        self._path = statcache.path_of(store, destination).with_suffix(".pulling")
        self._begun: list[tuple[bytes, Parent]] | None = None

    def begin(self, version: Version, path: bytes) -> None:
        """The part of `version` at or below `path` will be put in place now."""
        line = [version.experiment, version.tag, version.number, os.fsdecode(path)]
        with suppress(OSError):  # without it the next pull may ask for --force
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def end(self) -> None:
        """Everything is in place."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def entries(self, name: bytes = b"") -> Iterator[Entry]:
        """What the pulls that stopped would have put at `name`, or as the destination itself."""
        if self._begun is None:
            self._begun = list(self._read())
        for path, parent in self._begun:
            with suppress(StudioError):
                entry = parent.entry(b"/".join(filter(None, (path, name))))
                if entry is not None:
                    yield entry

    def _read(self) -> Iterator[tuple[bytes, Parent]]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return
        for line in lines:
            with suppress(StudioError, ValueError, TypeError, RecursionError):
                experiment, tag, number, path = json.loads(line)
                version = versions.read(self._store, experiment, tag, number)
                yield os.fsencode(path), Parent(self._store, version)
