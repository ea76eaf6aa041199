"""Which entries of a manifest a pull wants, and under which names it writes them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from studio_cas.worktree.ignore import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Selection:
    """A part of a manifest: below `path`, matching `include` (where given) and not `exclude` (gitignore patterns)."""

    def __init__(self, path: bytes = b"", include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self.path = path
        self._prefix = path + b"/"
        self._include = _matcher(include)
        self._exclude = _matcher(exclude)
        self.everything = not (path or include or exclude)
        self.filtered = bool(include or exclude)
        self.patterns = " ".join(
            [*(f"--include {word!r}" for word in include), *(f"--exclude {word!r}" for word in exclude)]
        )

    def name(self, path: bytes, *, folder: bool) -> bytes | None:
        """The path to write `path` to, relative to the destination; None where it is not wanted.

        The selected file itself becomes its base name; the selected folder itself is the destination.
        """
        if self.path:
            if path == self.path and folder:
                return None
            if path != self.path and not path.startswith(self._prefix):
                return None
            path = path.rpartition(b"/")[2] if path == self.path else path[len(self._prefix) :]
        if self.filtered and not self._matches(path, folder=folder):
            return None
        return path

    def _matches(self, path: bytes, *, folder: bool) -> bool:
        text = os.fsdecode(path) + ("/" if folder else "")
        if self._exclude and self._exclude(text):
            return False
        if self._include is None:
            return True
        return not folder and self._include(text)


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    if not patterns:
        return None
    return compiled(patterns, "include and exclude")


def link_leaves(path: bytes, target: bytes) -> bool:
    """Whether a symlink at `path` may lead out of the tree: absolute, or `..` beyond its root, or after another name.

    A `..` after a name is not followed here, since that name may be a link itself.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == b"..":
        climbs += 1
    return target.startswith(b"/") or climbs > path.count(b"/") or b".." in parts[climbs:]
