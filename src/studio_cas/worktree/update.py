"""Materialise over a folder with content: what differs is fetched beside it, then put in place file by file."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError
from studio_cas.formats.leaf import CONTINUATION, KIND_MASK, EntryKind
from studio_cas.worktree import statcache
from studio_cas.worktree.fetch import Fetcher
from studio_cas.worktree.journal import Journal
from studio_cas.worktree.pulling import Change, open_folder
from studio_cas.worktree.reconcile import LeafPlan, Reconciler, Reconciliation
from studio_cas.worktree.remembered import Cursor
from studio_cas.worktree.scan import Row, open_below, row_of, scan
from studio_cas.worktree.staging import Staging
from studio_cas.worktree.state_writer import StateWriter
from studio_cas.worktree.writing import LeafJob, TreeWriting

if TYPE_CHECKING:
    from pathlib import Path

    from studio_cas.worktree.pulling import MaterialiseResult, Pull

NAMED_CONFLICTS = 5


def update(pull: Pull, dest: Path, *, force: bool, dry_run: bool) -> MaterialiseResult:
    """Change what differs in `dest`."""
    folder = open_folder(dest)
    old = statcache.StateReader(statcache.path_of(pull.store, dest))
    journal = Journal(pull.store, dest)
    try:
        plan = _reconcile(pull, folder, old, journal, force=force)
        changes = _changes(plan)
        if plan.conflicts:
            raise ConflictError(_conflict_message(dest, plan.conflicts))
        if dry_run:
            return pull.report(dest, changes)
        return _apply(pull, dest, folder, old, plan, changes, journal)
    finally:
        old.close()
        os.close(folder)


def _reconcile(pull: Pull, folder: int, old: statcache.StateReader, journal: Journal, *, force: bool) -> Reconciliation:
    special: list[bytes] = []
    rows = scan(folder, None, set(), lambda path, _: special.append(path))
    plan = Reconciler(pull.tree, folder, rows, Cursor(old), pull.selection, journal).run(force=force)
    if not force:  # with it, they stay, unless a file takes their place
        plan.conflicts += special
    return plan


def _apply(
    pull: Pull,
    dest: Path,
    folder: int,
    old: statcache.StateReader,
    plan: Reconciliation,
    changes: tuple[Change, ...],
    journal: Journal,
) -> MaterialiseResult:
    needed = sum(size for _, size in plan.added) + sum(size for _, _, size in plan.changed)
    pull.check_space(dest, needed)
    state = StateWriter(statcache.path_of(pull.store, dest), old)
    try:
        with Staging(dest, f"update {pull.stamp()}", inside=True) as staging:
            fetcher, writing = _stage(pull, staging, plan, needed)
            if changes:
                journal.begin(pull.version, pull.selection.path)
            deleted = _delete(folder, plan)
            for leaf_plan in plan.leaves:
                _settle_leaf(pull, leaf_plan, staging, folder, state)
        state.commit()
        journal.end()
    finally:
        state.abandon()
    result = pull.report(dest, changes, writing, fetcher)
    return replace(result, files_deleted=deleted)


def _stage(pull: Pull, staging: Staging, plan: Reconciliation, needed: int) -> tuple[Fetcher, TreeWriting]:
    """Fetch all that is to be written into the staging tree."""
    tree = open_folder(staging.tree)
    pull.progress.start(f"pull {pull.version.name}", needed)
    fetcher = Fetcher(pull.store, pull.version.name, pull.progress.advance)
    sources = pull.sources(needed, plan.local)
    writing = TreeWriting(tree, fetcher, pull.version.name, resumed=staging.resumed, links=pull.links, sources=sources)
    made: set[bytes] = {b""}
    try:
        for leaf_plan in plan.leaves:
            if not leaf_plan.names:
                continue
            leaf = pull.tree.leaf(leaf_plan.index)
            pull.make_parents(tree, leaf_plan.names, leaf, made)
            sources.next_leaf(leaf)
            writing.write(LeafJob(leaf), list(leaf.chunk_slices()), leaf_plan.names)
        fetcher.finish()
    finally:
        fetcher.close()
        writing.close()
        sources.close()
        pull.progress.finish()
        os.close(tree)
    return fetcher, writing


def _settle_leaf(pull: Pull, plan: LeafPlan, staging: Staging, folder: int, state: StateWriter) -> None:
    """Put the staged entries of one leaf in place, and remember it."""
    if plan.block is not None:
        state.reuse(plan.block)
        return
    leaf = pull.tree.leaf(plan.index)
    job = LeafJob(leaf)
    job.rows = list(plan.rows)
    tree = open_folder(staging.tree)
    try:
        for position, name in plan.names:
            if not leaf.attributes[position] & CONTINUATION:
                kind = leaf.attributes[position] & KIND_MASK
                job.rows[position] = _put(tree, folder, name, folder_wanted=kind == EntryKind.FOLDER)
    finally:
        os.close(tree)
    pull.record(state, plan.index, job, plan.selected)


def _changes(plan: Reconciliation) -> tuple[Change, ...]:
    found = [Change(name, "added", None, size) for name, size in plan.added]
    found += [Change(name, "changed", old, new) for name, old, new in plan.changed]
    found += [Change(name, "removed", size, None) for name, _, size in plan.removed]
    return tuple(sorted(found, key=lambda change: change.path))


def _conflict_message(dest: Path, conflicts: list[bytes]) -> str:
    named = ", ".join(os.fsdecode(path) for path in conflicts[:NAMED_CONFLICTS])
    more = f" and {len(conflicts) - NAMED_CONFLICTS} more" if len(conflicts) > NAMED_CONFLICTS else ""
    return (
        f"{dest} holds files that are in no version, or were changed since: {named}{more}; "
        "push or move them away, name another destination, or use --force to replace them. Nothing was changed"
    )


def _delete(folder: int, plan: Reconciliation) -> int:
    """Remove what the manifest does not have, deepest first; the count of files and links removed."""
    deleted = 0
    for path, kind, _ in sorted(plan.removed, reverse=True):
        parent, _, name = path.rpartition(b"/")
        try:
            opened = open_below(folder, parent or b".", os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            if kind == EntryKind.FOLDER:
                os.rmdir(name, dir_fd=opened)
            else:
                os.unlink(name, dir_fd=opened)
                deleted += 1
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        finally:
            os.close(opened)
    return deleted


def _put(tree: int, folder: int, name: bytes, *, folder_wanted: bool) -> Row | None:
    """Move one staged entry into the destination; its row there."""
    parent, _, last = name.rpartition(b"/")
    into = open_below(folder, parent or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if folder_wanted:
            os.mkdir(last, dir_fd=into)
            return Row(name, EntryKind.FOLDER)
        source = open_below(tree, parent or b".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.rename(last, last, src_dir_fd=source, dst_dir_fd=into)
        except FileNotFoundError:
            return None  # a link that was left out
        finally:
            os.close(source)
        row = row_of(name, os.stat(last, dir_fd=into, follow_symlinks=False))
    finally:
        os.close(into)
    return row
