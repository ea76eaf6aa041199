"""Giving a complete temporary file its final name, once: `link`, or `renameat2` where there are no hard links.

Both fail when the name is taken, in one step inside the kernel, so that of any number of writers exactly one wins.
Plain `rename` overwrites, and "check, then rename" has a gap. A file system that can do neither is refused: a marker
file would need a lease to survive its writer's death.
"""

# ruff: noqa: PTH108, PTH116, PTH120 - plain strings for paths, as in `local`

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

from studio_cas.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

# What file systems without hard links (FAT, exFAT, some FUSE ones) answer to `link`.
NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK})
NO_EXCLUSIVE_RENAME: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1


def publish(temporary: str, final: str) -> None:
    """Give the file `temporary` the name `final`, and take its old name away.

    Raises FileExistsError, and leaves `temporary`, when `final` exists; StoreUnavailableError when the file system
    can not do this in one step; OSError otherwise.
    """
    try:
        os.link(temporary, final)
    except FileExistsError:
        if os.stat(temporary).st_nlink == 1:
            raise
        # Our own link: a network file system lost the reply, and asked the server again.
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _rename(temporary, final)
    return os.unlink(temporary)


def _rename(temporary: str, final: str) -> None:
    """Rename where `final` does not exist."""
    try:
        rename_exclusively()(temporary, final)
    except OSError as error:
        if error.errno not in NO_EXCLUSIVE_RENAME:
            raise
        message = (
            f"the file system of {os.path.dirname(final)} can neither make hard links nor rename without replacing, "
            "so two writers could overwrite each other: put the store on another file system"
        )
        raise StoreUnavailableError(message) from error


@cache
def rename_exclusively() -> Callable[[str, str], None]:
    """The system's "rename, but do not replace"; a function that raises OSError(ENOSYS) where there is none."""
    import ctypes

    try:
        native = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        native = None

    def rename(source: str, target: str) -> None:
        if native is None or sys.platform != "linux":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
        if native(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), target)

    return rename
