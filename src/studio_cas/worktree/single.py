"""Materialise a single file: it is built beside, and put in place by one rename."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError
from studio_cas.worktree import statcache
from studio_cas.worktree.fetch import local_error
from studio_cas.worktree.fresh import build
from studio_cas.worktree.journal import Journal
from studio_cas.worktree.pulling import Change, open_folder
from studio_cas.worktree.reconcile import holds
from studio_cas.worktree.remembered import Parent
from studio_cas.worktree.scan import row_of
from studio_cas.worktree.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from studio_cas.worktree.pulling import MaterialiseResult, Pull
    from studio_cas.worktree.remembered import Entry


def to_file(pull: Pull, dest: Path, name: bytes, *, force: bool, dry_run: bool) -> MaterialiseResult:
    """Build the file beside, then rename it to `dest`."""
    base = name.rpartition(b"/")[2]
    exists = os.path.lexists(dest)
    if dest.is_dir():
        message = f"{dest} is a folder, and {pull.version.name} is a file: name another destination"
        raise ConflictError(message)
    if exists and _holds(dest, [Parent(pull.store, pull.version).entry(name)]):
        return pull.report(dest, ())
    if exists and not force and not _replaceable(pull, dest):
        message = f"{dest} is there already, with other content: name another destination, or use --force to replace it"
        raise ConflictError(message)
    if dry_run:
        return pull.report(dest, (Change(os.fsencode(dest.name), "changed" if exists else "added", None, None),))
    pull.check_space(dest.parent, pull.tree.root.size if pull.version.is_file else 0)
    journal = Journal(pull.store, dest)
    with Staging(dest, pull.stamp()) as staging:
        state = pull.state(dest)
        try:
            fetcher, writing = build(pull, staging, state)
            journal.begin(pull.version, name)
            _replace(staging.tree / os.fsdecode(base), dest)
        finally:
            state.abandon()
    _remember(pull, dest)
    journal.end()
    return pull.report(dest, (), writing, fetcher)


def _remember(pull: Pull, dest: Path) -> None:
    marker = statcache.path_of(pull.store, dest).with_suffix(".pulled")
    row = row_of(b"", dest.lstat())
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(repr(tuple(row or ())))
    except OSError:
        return  # without it the next pull over this file asks for --force


def _holds(dest: Path, entries: Iterable[Entry | None]) -> bool:
    """Whether the file or link at `dest` is one of `entries`."""
    row = row_of(os.fsencode(dest.name), dest.lstat())
    folder = open_folder(dest.parent)
    try:
        return row is not None and any(entry is not None and holds(folder, row, entry) for entry in entries)
    finally:
        os.close(folder)


def _replaceable(pull: Pull, dest: Path) -> bool:
    """Whether the file was pulled or captured, and is unchanged since, or put there by a pull that stopped."""
    row = row_of(b"", dest.lstat())
    try:
        if statcache.path_of(pull.store, dest).with_suffix(".pulled").read_text() == repr(tuple(row or ())):
            return True
    except OSError:
        pass
    reader = statcache.StateReader(statcache.path_of(pull.store, dest))
    try:
        if any(row == known._replace(path=b"") for block in reader.blocks() for known in block.rows):
            return True
    finally:
        reader.close()
    return _holds(dest, Journal(pull.store, dest).entries())


def _replace(staged: Path, dest: Path) -> None:
    try:
        staged.replace(dest)
    except OSError as error:
        raise local_error(error, os.fsencode(dest)) from error
