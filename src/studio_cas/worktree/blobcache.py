"""The blobcache: immutable artifacts of other experiments, materialised once under their manifest id, read-only.

A folder that exists is complete, since it appears by one rename. What stat said of its files stands in the stat cache,
so a folder that somebody changed is noticed and built again; using one that is unchanged asks the store nothing.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.worktree.fetch import local_errors
from studio_cas.worktree.materialise import materialise
from studio_cas.worktree.removal import remove_tree
from studio_cas.worktree.scan import scan, unreported
from studio_cas.worktree.sources import BLOBCACHE, finished

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.formats.version import Version
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.worktree.writing import Links

FOLDER = BLOBCACHE


@dataclass(frozen=True, slots=True)
class CachedArtifact:
    """One folder of the blobcache. `used`: when it was last asked for, in seconds since the epoch; `size` in bytes."""

    manifest_id: str
    path: Path
    size: int
    files: int
    used: float


def ensure(
    store: Store,
    version: Version,
    home: Path | None = None,
    progress: Progress | None = None,
    *,
    links: Links = "refuse",
) -> Path:
    """The folder that holds `version`, or the file in it where it is a single file; read-only, and complete."""
    folder = (home or store.home) / FOLDER / version.manifest_id.hex()
    with local_errors(folder):
        if not _unchanged(store, folder):
            with _locked(folder):
                if not _unchanged(store, folder):
                    _build(store, version, folder, links, progress)
        os.utime(folder)
        return next(folder.iterdir()) if version.is_file else folder


def _build(store: Store, version: Version, folder: Path, links: Links, progress: Progress | None) -> None:
    with suppress(OSError):
        finished(store, folder).unlink(missing_ok=True)
    remove_tree(folder)
    if version.is_file:  # it is written into its folder, under its own name
        folder.mkdir()
    materialise(store, version, folder, links=links, progress=progress)
    _protect(folder)
    _remember(store, folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process builds a folder; the others wait, and find it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unchanged(store: Store, folder: Path) -> bool:
    """Whether the folder is there, and stat says of it what it said when it was built."""
    if not folder.is_dir():
        return False
    try:
        return finished(store, folder).read_bytes() == _fingerprint(folder)
    except OSError:
        return False


def _remember(store: Store, folder: Path) -> None:
    path = finished(store, folder)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(_fingerprint(folder))
        temporary.replace(path)
    except OSError:  # without it the next use builds the folder again
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _fingerprint(folder: Path) -> bytes:
    """A hash over the stat rows of everything in the folder."""
    from hashlib import blake2b

    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        total = blake2b(digest_size=32)
        for row in scan(opened, None, set(), unreported):
            total.update(repr(tuple(row)).encode())
        return total.digest()
    finally:
        os.close(opened)


def _protect(folder: Path) -> None:
    """Take the write permission from all files; folders keep it, so that the cache can be cleaned by plain means."""
    for parent, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(parent, name)  # noqa: PTH118
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                os.chmod(path, stat.S_IMODE(mode) & ~0o222)  # noqa: PTH101


def list_cached(home: Path) -> list[CachedArtifact]:
    """What the blobcache holds, the most recently used first."""
    found = []
    root = home / FOLDER
    if root.is_dir():
        for folder in root.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                with suppress(FileNotFoundError):  # another process cleans
                    size, files = _weigh(folder)
                    found.append(CachedArtifact(folder.name, folder, size, files, folder.stat().st_mtime))
    return sorted(found, key=lambda cached: -cached.used)


def _weigh(folder: Path) -> tuple[int, int]:
    size = files = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            size += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
            files += 1
    return size, files


def clean(
    home: Path, *, max_size: int | None = None, older_than: float | None = None, dry_run: bool = False
) -> list[CachedArtifact]:
    """Remove the least recently used folders; what was, or with `dry_run` would be, removed.

    Those go that do not fit into `max_size` bytes, and those not used for `older_than` seconds; without either, all.
    """
    removed = []
    total = 0
    for cached in list_cached(home):
        total += cached.size
        too_big = max_size is not None and total > max_size
        too_old = older_than is not None and time.time() - cached.used > older_than
        if too_big or too_old or (max_size is None and older_than is None):
            removed.append(cached)
            if not dry_run:
                doomed = cached.path.with_name(f".{cached.path.name}.{os.getpid()}")
                with suppress(OSError):  # another process cleans as well
                    cached.path.rename(doomed)  # it disappears at once, or stays whole
                    remove_tree(doomed)
    if not dry_run and (home / FOLDER).is_dir():
        for left in (home / FOLDER).glob(".*"):
            _remove_left(left)
    return removed


def _remove_left(path: Path) -> None:
    """Remove what a process that was killed has left; not what one has locked. Locks stay: they are empty."""
    if path.name.endswith(".lock"):
        return
    with suppress(OSError):
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(path)
        finally:
            os.close(opened)
