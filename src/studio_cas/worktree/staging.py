"""Where a pull is built: a hidden folder beside the destination, locked, and found again after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Self

from studio_cas.errors import ConflictError
from studio_cas.worktree.fetch import local_error
from studio_cas.worktree.ignore import PARTIAL_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

NAME_LIMIT = 200


class Staging:
    """`<parent>/.<name>.studio-partial/`: a lock, the manifest that is being built, and the tree.

    `resumed` says that the tree holds what an interrupted pull of the same manifest left.
    """

    def __init__(self, destination: Path, manifest: str) -> None:
        name = destination.name[:NAME_LIMIT]
        self.path = destination.parent / f".{name}{os.fsdecode(PARTIAL_SUFFIX)}"
        self.tree = self.path / "tree"
        self.resumed = False
        self._destination = destination
        self._manifest = manifest
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            raise local_error(error, os.fsencode(self.path)) from error
        return self

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(exist_ok=True)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            message = f"another pull into {self._destination} is under way: wait for it, or name another folder"
            raise ConflictError(message) from None
        marker = self.path / "manifest"
        if marker.exists() and marker.read_text() == self._manifest and self.tree.is_dir():
            self.resumed = True
            return
        remove_tree(self.tree)
        marker.write_text(self._manifest)
        self.tree.mkdir()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Remove it all, but after an interruption that a later pull can continue from."""
        from studio_cas.errors import StoreUnavailableError

        if kind is None or not issubclass(kind, KeyboardInterrupt | StoreUnavailableError):
            remove_tree(self.path)
        os.close(self._lock)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, read-only folders included; nothing where it is not there."""
    if not os.path.lexists(path):
        return

    def make_writable(_: object, name: str, __: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)  # noqa: PTH101, PTH120
            os.chmod(name, 0o700)  # noqa: PTH101
            if os.path.isdir(name) and not os.path.islink(name):  # noqa: PTH112, PTH114
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)  # noqa: PTH108

    shutil.rmtree(path, onerror=make_writable)
