"""A folder that is filled by somebody else's archive: nothing outside it is ever touched, whatever a member says.

Paths must be relative, without `..`. Links are made last, so that no member is written through one, and one that leads
outside is refused, left out, or made, as a pull does. Bytes and members are counted before they are written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from studio_cas.errors import RefusedError
from studio_cas.worktree.scan import open_below, parent_below
from studio_cas.worktree.selection import link_leaves
from studio_cas.worktree.whole import CREATE

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMBER_LIMIT = 20_000_000
PATH_LIMIT = 16 * 1024
SMALLEST_LIMIT = 1024 * 1024 * 1024
LARGEST_RATIO = 200


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be unpacked. `size`: plain bytes of one archive, None for what is usual of one of its size."""

    size: int | None = None
    links: Literal["refuse", "skip", "allow"] = "refuse"

    def limit(self, stored: int) -> int:
        """The bytes that may come out of an archive of `stored` bytes."""
        return max(SMALLEST_LIMIT, LARGEST_RATIO * stored) if self.size is None else self.size


@dataclass(slots=True)
class UnpackTree:
    """Fills the open folder `root`. `files` counts those that were written; `skipped`: links that were left out.

    `tops`: the first names of paths, as far as there are two; `dotted`: whether a member began with `./`.
    """

    root: int
    limit: int
    links: Literal["refuse", "skip", "allow"]
    files: int = 0
    size: int = 0
    members: int = 0
    skipped: list[str] = field(default_factory=list)
    tops: set[bytes] = field(default_factory=set)
    dotted: bool = False
    _folders: set[bytes] = field(default_factory=lambda: {b""})
    _links: dict[bytes, bytes] = field(default_factory=dict)

    def member(self, name: bytes) -> bytes:
        """The path of the next member: b"" for the folder itself. Raises RefusedError."""
        self.members += 1
        if self.members > MEMBER_LIMIT:
            message = f"it has more than {MEMBER_LIMIT:,} members"
            raise RefusedError(message)
        parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
        path = b"/".join(parts)
        if name.startswith(b"/") or b".." in parts or b"\0" in name or len(path) > PATH_LIMIT:
            message = f"its member {os.fsdecode(name[:200])!r} has an unsafe path"
            raise RefusedError(message)
        self.dotted |= name.startswith(b"./") or name == b"."
        if path and len(self.tops) < 2:
            self.tops.add(parts[0])
        return path

    def folder(self, path: bytes) -> None:
        """Make a folder, and those that it lies in. Raises RefusedError where something else is there."""
        parts = path.split(b"/")
        missing = len(parts)
        while missing and b"/".join(parts[:missing]) not in self._folders and path:
            missing -= 1
        for depth in range(missing + 1, len(parts) + 1):
            self._make_folder(b"/".join(parts[:depth]))

    def _make_folder(self, path: bytes) -> None:
        if path in self._links:
            message = f"its member {os.fsdecode(path)!r} is a folder, and a link before"
            raise RefusedError(message)
        with parent_below(self.root, path) as (above, name):
            try:
                os.mkdir(name, dir_fd=above)
            except FileExistsError as error:
                message = f"its member {os.fsdecode(path)!r} is a folder, and a file before"
                raise RefusedError(message) from error
        self._folders.add(path)

    def file(self, path: bytes, pieces: Iterable[bytes], *, executable: bool, mtime_ns: int) -> None:
        """Write a file; a later member of a name replaces an earlier one. Raises RefusedError."""
        self._clear(path)
        fd = open_below(self.root, path, CREATE, 0o777 if executable else 0o666)
        try:
            for piece in pieces:
                self.count(len(piece))
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)
        self.files += 1

    def count(self, size: int) -> None:
        """`size` more bytes come out of the archive. Raises RefusedError."""
        self.size += size
        if self.size > self.limit:
            message = f"more than {self.limit:,} bytes come out of it: --max-size allows more"
            raise RefusedError(message)

    def link(self, path: bytes, target: bytes) -> None:
        """Make a link, in the end."""
        if not target or b"\0" in target or len(target) > PATH_LIMIT:
            message = f"its link {os.fsdecode(path)!r} has no sound target"
            raise RefusedError(message)
        if self.links != "allow" and link_leaves(path, target):
            shown = f"{os.fsdecode(path)} -> {os.fsdecode(target)}"
            if self.links == "refuse":
                message = (
                    f"its link {shown} leads outside: --links skip leaves such links out, --links allow keeps them"
                )
                raise RefusedError(message)
            self.skipped.append(shown)
            return
        self._clear(path)
        self._links[path] = target

    def again(self, path: bytes, earlier: bytes) -> None:
        """A hard link to a member that came before. Raises RefusedError."""
        if earlier in self._links:
            self.link(path, self._links[earlier])
            return
        if path == earlier:
            return
        self._clear(path)
        try:
            with parent_below(self.root, path) as (above, name), parent_below(self.root, earlier) as (from_, old):
                os.link(old, name, src_dir_fd=from_, dst_dir_fd=above, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            message = f"its member {os.fsdecode(path)!r} is {os.fsdecode(earlier)!r} again, which is no file of it"
            raise RefusedError(message) from error
        self.files += 1

    def _clear(self, path: bytes) -> None:
        """Make room for a file or link at `path`."""
        if not path or path in self._folders:
            message = f"its member {os.fsdecode(path) or '.'!r} is a file, and a folder before"
            raise RefusedError(message)
        self.folder(path.rpartition(b"/")[0])
        self._links.pop(path, None)
        with parent_below(self.root, path) as (above, name):
            try:
                os.unlink(name, dir_fd=above)
                self.files -= 1
            except FileNotFoundError:
                pass

    def finish(self) -> None:
        """Make the links."""
        for path, target in self._links.items():
            with parent_below(self.root, path) as (above, name):
                os.symlink(target, name, dir_fd=above)
