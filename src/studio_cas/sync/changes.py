"""What changed in a folder since somebody last asked: some paths, or everything."""

from __future__ import annotations

import threading

LIMIT = 4096  # paths; more of them are everything


class Changes:
    """Collects changes from any thread. Paths are relative to the folder, as the system's bytes decode."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._everything = False

    def add(self, path: str) -> bool:
        """`path` changed; True where it is the first news since `take`."""
        with self._lock:
            first = not self._paths and not self._everything
            if not self._everything:
                self._paths.add(path)
            if len(self._paths) > LIMIT:
                self._paths.clear()
                self._everything = True
            return first

    def add_everything(self) -> bool:
        """Nobody knows what changed; True where it is the first news since `take`."""
        with self._lock:
            first = not self._paths and not self._everything
            self._paths.clear()
            self._everything = True
            return first

    def take(self) -> frozenset[str] | None:
        """The paths that changed, maybe none, or None for everything; and begin anew."""
        with self._lock:
            paths = None if self._everything else frozenset(self._paths)
            self._paths.clear()
            self._everything = False
            return paths
