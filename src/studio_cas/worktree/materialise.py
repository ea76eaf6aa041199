"""Materialise: a version, or a part of it, becomes a folder or a file.

version → root → leaves needed → plan → ranged reads → decode → verify → write beside → rename

A destination that is not there appears whole, by one rename. One that is there is compared first; nothing is written
when something in it is in the way; then what differs is fetched beside it, and put in place file by file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError
from studio_cas.progress import Silent
from studio_cas.worktree.fetch import local_errors
from studio_cas.worktree.fresh import fresh
from studio_cas.worktree.pulling import Change, MaterialiseResult, Pull
from studio_cas.worktree.selection import Selection
from studio_cas.worktree.single import to_file
from studio_cas.worktree.staging import sweep
from studio_cas.worktree.update import update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio_cas.formats.version import Version
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.worktree.writing import Links

__all__ = ["Change", "MaterialiseResult", "materialise"]


def materialise(
    store: Store,
    version: Version,
    dest: Path,
    *,
    path: bytes = b"",
    force: bool = False,
    dry_run: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    links: Links = "refuse",
    progress: Progress | None = None,
) -> MaterialiseResult:
    """Make `dest` equal to `version`, or to the part of it below `path` that matches `include` and not `exclude`.

    A version of a single file, or a `path` that names a file, is written to the file `dest`, or into it where it is a
    folder. Raises ConflictError where `dest` holds something else (unless `force`), CorruptError and RefusedError
    before a wrong byte is written, NoSpaceError, NotFoundError (no such path, or the patterns leave nothing).
    """
    pull = Pull(store, version, Selection(path, include, exclude), links, progress or Silent())
    dest = Path(os.path.abspath(dest))  # noqa: PTH100 (a link at the end is the destination itself)
    with local_errors(dest):
        if dest.is_symlink() and dest.is_dir():
            dest = dest.resolve()
        result = _materialise(pull, dest, force=force, dry_run=dry_run)
        if not dry_run:
            sweep(result.path)
        return result


def _materialise(pull: Pull, dest: Path, *, force: bool, dry_run: bool) -> MaterialiseResult:
    single = pull.single_name()
    pull.check_wanted()
    if single is not None:
        base = os.fsdecode(single.rpartition(b"/")[2])
        return to_file(pull, dest / base if dest.is_dir() else dest, single, force=force, dry_run=dry_run)
    if dest.is_dir():
        return update(pull, dest, force=force, dry_run=dry_run)
    if os.path.lexists(dest):
        message = f"{dest} is a file, and {pull.name} is a folder: name another destination"
        raise ConflictError(message)
    return fresh(pull, dest, dry_run=dry_run)
