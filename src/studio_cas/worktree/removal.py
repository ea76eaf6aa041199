"""Remove a folder and all in it: read-only folders, and trees deeper than the recursion of any library.

A folder that is found is emptied of its files, and the folders in it are moved up before it is removed; so never more
than two levels are open, and no path is long.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from studio_cas.worktree.scan import open_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove_tree(path: Path) -> None:
    """Remove what is at `path`; nothing where there is nothing. Raises OSError."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with suppress(PermissionError):  # of another owner who let us in
        path.chmod(0o700)
    opened = os.open(path, FOLDER | os.O_CLOEXEC)
    try:
        _empty(opened)
    finally:
        os.close(opened)
    path.rmdir()


def _empty(root: int) -> None:
    numbers = count()
    while folders := _unlink_files(root):
        for name in folders:
            with suppress(OSError):
                os.chmod(name, 0o700, dir_fd=root)
            opened = open_below(root, name, FOLDER)
            try:
                for inner in _unlink_files(opened):
                    _move_up(opened, inner, root, numbers)
            finally:
                os.close(opened)
            os.rmdir(name, dir_fd=root)


def _unlink_files(folder: int) -> list[bytes]:
    """Unlink all that is no folder; the folders that are left."""
    with os.scandir(folder) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


def _move_up(folder: int, name: bytes, root: int, numbers: Iterator[int]) -> None:
    """Rename a folder into `root`, under a name that is free there."""
    with suppress(OSError):
        os.chmod(name, 0o700, dir_fd=folder)
    while True:
        try:
            os.rename(name, b".%d" % next(numbers), src_dir_fd=folder, dst_dir_fd=root)
        except OSError as error:
            if not isinstance(error, FileExistsError | NotADirectoryError) and error.errno != errno.ENOTEMPTY:
                raise
        else:
            return
