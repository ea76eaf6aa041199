"""Where a pull is built: a hidden folder beside the destination, or in it, locked, and found again after a crash.

A destination that exists may be a mount, or lie in a folder that we may not write: its staging folder is in it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from studio_cas.errors import ConflictError, LocalIOError, StoreUnavailableError
from studio_cas.worktree.fetch import local_error
from studio_cas.worktree.ignore import PARTIAL_SUFFIX
from studio_cas.worktree.removal import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

NAME_LIMIT = 200
CANDIDATES = 10
SUFFIX = os.fsdecode(PARTIAL_SUFFIX)


class Staging:
    """`<parent>/.<name>.studio-partial/`: a lock, the manifest that is being built (`stamp`), and the tree.

    `resumed` says that the tree holds what an interrupted pull of the same stamp left.
    """

    def __init__(self, destination: Path, stamp: str, *, inside: bool = False) -> None:
        name = os.fsdecode(os.fsencode(destination.name)[:NAME_LIMIT])
        self._folder = destination if inside else destination.parent
        self._stem = "" if inside else f".{name}"
        self.path = self._folder / f"{self._stem}{SUFFIX}"
        self.resumed = False
        self._destination = destination
        self._stamp = stamp
        self._lock = -1

    @property
    def tree(self) -> Path:
        """What is built."""
        return self.path / "tree"

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._take()
            self._open()
        except OSError as error:
            self._discard()
            self._close()
            raise local_error(error, os.fsencode(self.path)) from error
        except BaseException:
            self._close()
            raise
        return self

    def _take(self) -> None:
        """Make and lock the first candidate that is not somebody else's. Raises ConflictError."""
        for number in range(CANDIDATES):
            self.path = self._folder / f"{self._stem}{f'.{number}' if number else ''}{SUFFIX}"
            for _ in range(CANDIDATES):  # its owner may finish at any moment, and remove it
                with suppress(FileNotFoundError):
                    if not self._make():
                        break
                    self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    self._flock()
                    if os.path.samestat(os.fstat(self._lock), self.path.lstat()):
                        return
                self._close()
        message = f"{self.path} is in the way: move it away, or name another destination"
        raise ConflictError(message)

    def _make(self) -> bool:
        """Whether the folder is there and ours: empty, or with our marker. A link or another's folder is a trap."""
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            status = self.path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                return False
            held = set(os.listdir(self.path))  # noqa: PTH208 (names, not paths)
            return not held or ("manifest" in held and held <= {"manifest", "tree"})
        return True

    def _flock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another pull into {self._destination} is under way: wait for it, or name another folder"
            raise ConflictError(message) from None

    def _open(self) -> None:
        marker = self.path / "manifest"
        if marker.exists() and marker.read_bytes() == os.fsencode(self._stamp) and self.tree.is_dir():
            self.resumed = True
            return
        self._clear()
        self.tree.mkdir()
        marker.write_bytes(os.fsencode(self._stamp))

    def _clear(self) -> None:
        """Remove the tree; whatever is left of it after a crash is no tree of any stamp."""
        (self.path / "manifest").write_bytes(b"")
        remove_tree(self.tree)

    def _discard(self) -> None:
        """Leave nothing of what could not be begun."""
        with suppress(OSError):
            if self._lock >= 0:
                (self.path / "manifest").unlink(missing_ok=True)
                remove_tree(self.tree)
                self.path.rmdir()

    def restart(self) -> None:
        """Begin with an empty tree."""
        self._clear()
        self._open()
        self.resumed = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Remove it all, but after an interruption that a later pull can continue from."""
        try:
            if kind is None or not issubclass(kind, KeyboardInterrupt | StoreUnavailableError):
                self._clear()
                (self.path / "manifest").unlink()
                self.path.rmdir()
        except OSError as left:
            if kind is None:
                raise local_error(left, os.fsencode(self.path)) from left
        finally:
            self._close()

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(destination: Path) -> None:
    """Remove what a killed pull left beside or in a destination that is complete by now."""
    for inside in (False, True):
        left = Staging(destination, "", inside=inside)
        if os.path.lexists(left.path):
            with suppress(ConflictError, LocalIOError), left:
                pass
