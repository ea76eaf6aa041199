"""Materialise: a version, or a part of it, becomes a folder or a file.

version → root → leaves needed → plan → ranged reads → decode → verify → write beside → rename

A destination that is not there appears whole, by one rename. One that is there is compared first; nothing is written
when
something in it is in the way; then what differs is fetched beside it, and put in place file by file.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from studio_cas.codec import zstd
from studio_cas.errors import ConflictError, NoSpaceError, NotFoundError
from studio_cas.formats import leaf as leaves
from studio_cas.formats.leaf import CONTINUATION, KIND_MASK, EntryKind, Leaf, PathOrder
from studio_cas.formats.root import LeafRow
from studio_cas.progress import Silent
from studio_cas.store.trees import TreeReader
from studio_cas.worktree import statcache
from studio_cas.worktree.fetch import Fetcher, local_error, local_errors
from studio_cas.worktree.journal import Journal
from studio_cas.worktree.reconcile import LeafPlan, Reconciler, Reconciliation, holds
from studio_cas.worktree.remembered import Cursor, Parent
from studio_cas.worktree.scan import Row, open_below, parent_below, row_of, scan
from studio_cas.worktree.selection import Selection
from studio_cas.worktree.staging import Staging, sweep
from studio_cas.worktree.tree_writer import FILES
from studio_cas.worktree.writing import LeafJob, TreeWriting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from studio_cas.formats.version import Version
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.worktree.writing import Links

JOBS = 8
NAMED_CONFLICTS = 5


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs. `kind`: "added", "removed" or "changed"; sizes in bytes, None where there is no side."""

    path: bytes
    kind: Literal["added", "removed", "changed"]
    old_size: int | None
    new_size: int | None


@dataclass(frozen=True, slots=True)
class MaterialiseResult:
    """What a pull did, or with `dry_run` would do. Sizes in bytes; `bytes_fetched` were read from packs."""

    path: Path
    files_written: int
    files_deleted: int
    bytes_written: int
    bytes_fetched: int
    changes: tuple[Change, ...]
    skipped_links: tuple[str, ...] = ()


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
    before
    a wrong byte is written, NoSpaceError, NotFoundError (no such path).
    """
    pull = _Pull(store, version, Selection(path, include, exclude), links, progress or Silent())
    dest = Path(os.path.abspath(dest))  # noqa: PTH100 (a link at the end is the destination itself)
    with local_errors(dest):
        if dest.is_symlink() and dest.is_dir():
            dest = dest.resolve()
        result = _materialise(pull, dest, force=force, dry_run=dry_run)
        if not dry_run:
            sweep(result.path)
        return result


def _materialise(pull: _Pull, dest: Path, *, force: bool, dry_run: bool) -> MaterialiseResult:
    single = pull.single_name()
    if single is not None:
        base = os.fsdecode(single.rpartition(b"/")[2])
        return pull.to_file(dest / base if dest.is_dir() else dest, single, force=force, dry_run=dry_run)
    if dest.is_dir():
        return pull.update(dest, force=force, dry_run=dry_run)
    if os.path.lexists(dest):
        message = f"{dest} is a file, and {pull.name} is a folder: name another destination"
        raise ConflictError(message)
    return pull.fresh(dest, dry_run=dry_run)


class _Pull:
    """One pull while it runs."""

    def __init__(self, store: Store, version: Version, selection: Selection, links: Links, progress: Progress) -> None:
        self._store = store
        self._version = version
        self._selection = selection
        self._links: Links = links
        self._progress = progress
        self._tree = TreeReader(store, version)
        self._flags = 0 if selection.everything else statcache.PARTIAL

    @property
    def name(self) -> str:
        """Of the version."""
        return self._version.name

    def single_name(self) -> bytes | None:
        """The path of the single file that is wanted, or None where a folder is. Raises NotFoundError."""
        if self._version.is_file:
            return self._tree.root.leaves[0].first_path
        wanted = self._selection.path
        if not wanted:
            return None
        for _, leaf in self._tree.leaves():
            if wanted in leaf.paths:
                kind = leaf.attributes[leaf.paths.index(wanted)] & KIND_MASK
                return None if kind == EntryKind.FOLDER else wanted
        message = (
            f"{self._version.name} has no path {os.fsdecode(wanted)!r}: `studio ls {self._version.name}` lists them"
        )
        raise NotFoundError(message)

    def _names(self, leaf: Leaf, checker: PathOrder) -> list[tuple[int, bytes]]:
        names = []
        for position, path in enumerate(leaf.paths):
            attribute = leaf.attributes[position]
            checker.check(path, attribute)
            name = self._selection.name(path, folder=attribute & KIND_MASK == EntryKind.FOLDER)
            if name is not None:
                names.append((position, name))
        return names

    # A new destination

    def fresh(self, dest: Path, *, dry_run: bool) -> MaterialiseResult:
        """Build the folder beside, then rename it to `dest`."""
        if dry_run:
            return self._report(dest, tuple(self._additions()))
        self._check_space(dest.parent, self._tree.root.size if self._selection.everything else 0)
        with Staging(dest, self._stamp()) as staging:
            state = self._state(dest)
            try:
                fetcher, writing = self._build(staging, state)
                _install(staging.tree, dest)
                state.commit()
            finally:
                state.abandon()
        return self._report(dest, (), writing, fetcher)

    def _stamp(self) -> str:
        selection = self._selection
        part = "" if selection.everything else f" {selection.path!r} {selection.filtered}"
        return f"{self._version.manifest_id.hex()}{part}"

    def _build(self, staging: Staging, state: statcache.StateWriter) -> tuple[Fetcher, TreeWriting]:
        if staging.resumed and self._selection.filtered:
            staging.restart()
        folder = _open_folder(staging.tree)
        self._progress.start(f"pull {self._version.name}", self._tree.root.size)
        fetcher = Fetcher(self._store, self._version.name, self._progress.advance)
        writing = TreeWriting(folder, fetcher, self._version.name, resumed=staging.resumed, links=self._links)
        jobs: deque[tuple[int, LeafJob, list[tuple[int, bytes]]]] = deque()
        checker = PathOrder()
        made: set[bytes] = {b""}
        try:
            for index in range(len(self._tree.root.leaves)):
                leaf = self._tree.leaf(index)
                job = LeafJob(leaf)
                names = self._names(leaf, checker)
                if self._selection.filtered:
                    self._make_parents(folder, names, leaf, made)
                writing.write(job, list(leaf.chunk_slices()), names)
                jobs.append((index, job, names))
                while len(jobs) > 1 and not jobs[0][1].left:
                    self._record(state, *jobs.popleft())
                if len(jobs) > JOBS:
                    fetcher.finish()
            fetcher.finish()
            for entry in jobs:
                self._record(state, *entry)
        finally:
            fetcher.close()
            writing.close()
            self._progress.finish()
            os.close(folder)
        return fetcher, writing

    def _make_parents(self, folder: int, names: list[tuple[int, bytes]], leaf: Leaf, made: set[bytes]) -> None:
        """With `include`, folders are not wanted for themselves, but the files in them need them."""
        for position, path in names:
            if leaf.attributes[position] & KIND_MASK == EntryKind.FOLDER:
                made.add(path)
            parts = path.split(b"/")[:-1]
            for depth in range(1, len(parts) + 1):
                parent = b"/".join(parts[:depth])
                if parent not in made:
                    made.add(parent)
                    with suppress(FileExistsError), parent_below(folder, parent) as (above, name):  # of an earlier try
                        os.mkdir(name, dir_fd=above)

    def _record(self, state: statcache.StateWriter, index: int, job: LeafJob, names: list[tuple[int, bytes]]) -> None:
        """Remember what was written, so that it is known unchanged later."""
        row = self._tree.root.leaves[index]
        leaf = job.leaf
        written = [item for item in names if job.rows[item[0]] or leaf_continues(leaf, item[0])]
        partial = self._flags or len(written) != len(leaf.paths)  # a link that was left out makes it another leaf
        if partial:
            leaf = _part(leaf, written)
            row = _row_of_part(leaf)
        rows = [found for position, found in enumerate(job.rows) if found and not leaf_continues(job.leaf, position)]
        if partial and not rows:
            return
        leaf_id, plain = leaves.encode(leaf)
        if partial:
            row = replace(row, leaf_id=leaf_id)
        files = sum(1 for found in rows if found.kind in FILES)
        flags = statcache.PARTIAL if partial else 0
        if leaf.attributes and leaf.attributes[0] & CONTINUATION:
            flags |= statcache.INSIDE
        state.add(row, files, rows, leaf.packs(), zstd.compress(plain), len(plain), flags)

    def _state(self, dest: Path) -> statcache.StateWriter:
        return statcache.StateWriter(statcache.path_of(self._store, dest), statcache.StateReader(None))

    def _additions(self) -> Iterator[Change]:
        checker = PathOrder()
        for _, leaf in self._tree.leaves():
            for position, name in self._names(leaf, checker):
                if not leaf.attributes[position] & CONTINUATION:
                    yield Change(name, "added", None, leaf.sizes[position])

    def _check_space(self, folder: Path, needed: int) -> None:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            message = (
                f"{self._version.name} needs {needed:,} bytes, and {folder} has {free:,} free: "
                "make room, or name another destination; nothing was written"
            )
            raise NoSpaceError(message)

    def _report(
        self,
        dest: Path,
        changes: tuple[Change, ...],
        writing: TreeWriting | None = None,
        fetcher: Fetcher | None = None,
    ) -> MaterialiseResult:
        return MaterialiseResult(
            dest,
            writing.files if writing else 0,
            0,
            fetcher.bytes_written if fetcher else 0,
            fetcher.bytes_fetched if fetcher else 0,
            changes,
            tuple(writing.skipped_links) if writing else (),
        )

    # A single file

    def to_file(self, dest: Path, name: bytes, *, force: bool, dry_run: bool) -> MaterialiseResult:
        """Build the file beside, then rename it to `dest`."""
        base = name.rpartition(b"/")[2]
        exists = os.path.lexists(dest)
        if dest.is_dir():
            message = f"{dest} is a folder, and {self._version.name} is a file: name another destination"
            raise ConflictError(message)
        if exists and self._equals(dest, name):
            return self._report(dest, ())
        if exists and not force and not self._replaceable(dest):
            message = (
                f"{dest} is there already, with other content: name another destination, or use --force to replace it"
            )
            raise ConflictError(message)
        if dry_run:
            return self._report(dest, (Change(os.fsencode(dest.name), "changed" if exists else "added", None, None),))
        self._check_space(dest.parent, self._tree.root.size if self._version.is_file else 0)
        with Staging(dest, self._stamp()) as staging:
            state = self._state(dest)
            try:
                fetcher, writing = self._build(staging, state)
                _replace(staging.tree / os.fsdecode(base), dest)
            finally:
                state.abandon()
        self._remember_file(dest)
        return self._report(dest, (), writing, fetcher)

    def _remember_file(self, dest: Path) -> None:
        marker = statcache.path_of(self._store, dest).with_suffix(".pulled")
        row = row_of(b"", dest.lstat())
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(repr(tuple(row or ())))
        except OSError:
            return  # without it the next pull over this file asks for --force

    def _equals(self, dest: Path, name: bytes) -> bool:
        """Whether the file or link at `dest` is what is to be written."""
        row = row_of(os.fsencode(dest.name), dest.lstat())
        wanted = Parent(self._store, self._version).entry(name)
        folder = _open_folder(dest.parent)
        try:
            return row is not None and wanted is not None and holds(folder, row, wanted)
        finally:
            os.close(folder)

    def _replaceable(self, dest: Path) -> bool:
        """Whether the file was pulled or captured, and is unchanged since."""
        row = row_of(b"", dest.lstat())
        try:
            if statcache.path_of(self._store, dest).with_suffix(".pulled").read_text() == repr(tuple(row or ())):
                return True
        except OSError:
            pass
        reader = statcache.StateReader(statcache.path_of(self._store, dest))
        try:
            return any(row == known._replace(path=b"") for block in reader.blocks() for known in block.rows)
        finally:
            reader.close()

    # A destination with content

    def update(self, dest: Path, *, force: bool, dry_run: bool) -> MaterialiseResult:
        """Change what differs in `dest`."""
        folder = _open_folder(dest)
        old = statcache.StateReader(statcache.path_of(self._store, dest))
        journal = Journal(self._store, dest)
        try:
            plan = self._reconcile(folder, old, journal, force=force)
            changes = _changes(plan)
            if plan.conflicts:
                raise ConflictError(_conflict_message(dest, plan.conflicts))
            if dry_run:
                return self._report(dest, changes)
            return self._apply(dest, folder, old, plan, changes, journal)
        finally:
            old.close()
            os.close(folder)

    def _reconcile(self, folder: int, old: statcache.StateReader, journal: Journal, *, force: bool) -> Reconciliation:
        special: list[bytes] = []
        rows = scan(folder, None, set(), lambda path, _: special.append(path))
        plan = Reconciler(self._tree, folder, rows, Cursor(old), self._selection, journal).run(force=force)
        if not force:  # with it, they stay, unless a file takes their place
            plan.conflicts += special
        return plan

    def _apply(
        self,
        dest: Path,
        folder: int,
        old: statcache.StateReader,
        plan: Reconciliation,
        changes: tuple[Change, ...],
        journal: Journal,
    ) -> MaterialiseResult:
        needed = sum(size for _, size in plan.added) + sum(size for _, _, size in plan.changed)
        self._check_space(dest, needed)
        state = statcache.StateWriter(statcache.path_of(self._store, dest), old)
        try:
            with Staging(dest, f"update {self._stamp()}", inside=True) as staging:
                fetcher, writing = self._stage(staging, folder, plan, needed)
                if changes:
                    journal.begin(self._version, self._selection.path)
                deleted = _delete(folder, plan)
                for leaf_plan in plan.leaves:
                    self._settle_leaf(leaf_plan, staging, folder, state)
            state.commit()
            journal.end()
        finally:
            state.abandon()
        result = self._report(dest, changes, writing, fetcher)
        return replace(result, files_deleted=deleted)

    def _stage(self, staging: Staging, folder: int, plan: Reconciliation, needed: int) -> tuple[Fetcher, TreeWriting]:
        """Fetch all that is to be written into the staging tree."""
        tree = _open_folder(staging.tree)
        self._progress.start(f"pull {self._version.name}", needed)
        fetcher = Fetcher(self._store, self._version.name, self._progress.advance)
        writing = TreeWriting(
            tree,
            fetcher,
            self._version.name,
            resumed=staging.resumed,
            links=self._links,
            old=folder,
            local=plan.local,
        )
        made: set[bytes] = {b""}
        try:
            for leaf_plan in plan.leaves:
                if not leaf_plan.names:
                    continue
                leaf = self._tree.leaf(leaf_plan.index)
                self._make_parents(tree, leaf_plan.names, leaf, made)
                writing.write(LeafJob(leaf), list(leaf.chunk_slices()), leaf_plan.names)
            fetcher.finish()
        finally:
            fetcher.close()
            writing.close()
            self._progress.finish()
            os.close(tree)
        return fetcher, writing

    def _settle_leaf(self, plan: LeafPlan, staging: Staging, folder: int, state: statcache.StateWriter) -> None:
        """Put the staged entries of one leaf in place, and remember it."""
        if plan.block is not None:
            state.reuse(plan.block)
            return
        leaf = self._tree.leaf(plan.index)
        job = LeafJob(leaf)
        job.rows = list(plan.rows)
        tree = _open_folder(staging.tree)
        try:
            for position, name in plan.names:
                if not leaf.attributes[position] & CONTINUATION:
                    kind = leaf.attributes[position] & KIND_MASK
                    job.rows[position] = _put(tree, folder, name, folder_wanted=kind == EntryKind.FOLDER)
        finally:
            os.close(tree)
        self._record(state, plan.index, job, plan.selected)


def leaf_continues(leaf: Leaf, position: int) -> bool:
    """Whether the entry is a later part of a file."""
    return bool(leaf.attributes[position] & CONTINUATION)


def _part(leaf: Leaf, names: list[tuple[int, bytes]]) -> Leaf:
    """The entries of `leaf` that were written, under their new names."""
    part = Leaf()
    slices = list(leaf.chunk_slices())
    for position, name in names:
        part.paths.append(name)
        part.attributes.append(leaf.attributes[position])
        part.sizes.append(leaf.sizes[position])
        part.counts.append(leaf.counts[position])
        part.literals.append(leaf.literals[position])
        part.mtimes.append(leaf.mtimes[position])
        part.lengths.extend(leaf.lengths[slices[position]])
        part.ids.extend(leaf.ids[slices[position]])
        part.places.extend(leaf.places[slices[position]])
    return part


def _row_of_part(part: Leaf) -> LeafRow:
    from studio_cas.ids import LeafId

    first = part.paths[0] if part.paths else b""
    return LeafRow(LeafId(bytes(32)), len(part.paths), sum(part.sizes), first, None)


def _open_folder(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise local_error(error, os.fsencode(path)) from error


def _install(tree: Path, dest: Path) -> None:
    """Rename the finished folder to `dest`, which is not there or empty."""
    try:
        tree.rename(dest)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            message = f"{dest} was filled while the pull ran: name another destination, or start again"
            raise ConflictError(message) from error
        raise local_error(error, os.fsencode(dest)) from error


def _replace(staged: Path, dest: Path) -> None:
    try:
        staged.replace(dest)
    except OSError as error:
        raise local_error(error, os.fsencode(dest)) from error


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
