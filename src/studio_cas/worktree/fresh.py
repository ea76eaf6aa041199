"""Materialise into a new destination: a folder is built beside it, and appears whole by one rename."""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError
from studio_cas.formats.leaf import PathOrder
from studio_cas.worktree.fetch import Fetcher, local_error
from studio_cas.worktree.pulling import open_folder
from studio_cas.worktree.staging import Staging
from studio_cas.worktree.writing import LeafJob, TreeWriting

if TYPE_CHECKING:
    from pathlib import Path

    from studio_cas.worktree.pulling import MaterialiseResult, Pull
    from studio_cas.worktree.state_writer import StateWriter

JOBS = 8


def fresh(pull: Pull, dest: Path, *, dry_run: bool) -> MaterialiseResult:
    """Build the folder beside, then rename it to `dest`."""
    if dry_run:
        return pull.report(dest, tuple(pull.additions()))
    pull.check_space(dest.parent, pull.tree.root.size if pull.selection.everything else 0)
    with Staging(dest, pull.stamp()) as staging:
        state = pull.state(dest)
        try:
            fetcher, writing = build(pull, staging, state)
            state.commit()  # before: a pull that is killed in between would not know its own files
            _install(staging.tree, dest)
        finally:
            state.abandon()
    return pull.report(dest, (), writing, fetcher)


def build(pull: Pull, staging: Staging, state: StateWriter) -> tuple[Fetcher, TreeWriting]:
    """Write all that is wanted into the staging tree, leaf by leaf, and tell `state` of each leaf that is complete."""
    if staging.resumed and pull.selection.filtered:
        staging.restart()
    folder = open_folder(staging.tree)
    pull.progress.start(f"pull {pull.version.name}", pull.tree.root.size)
    fetcher = Fetcher(pull.store, pull.version.name, pull.progress.advance)
    sources = pull.sources(pull.tree.root.size)
    writing = TreeWriting(
        folder, fetcher, pull.version.name, resumed=staging.resumed, links=pull.links, sources=sources
    )
    jobs: deque[tuple[int, LeafJob, list[tuple[int, bytes]]]] = deque()
    checker = PathOrder()
    made: set[bytes] = {b""}
    try:
        for index in range(len(pull.tree.root.leaves)):
            leaf = pull.tree.leaf(index)
            job = LeafJob(leaf)
            names = pull.names(leaf, checker)
            if pull.selection.filtered:
                pull.make_parents(folder, names, leaf, made)
            sources.next_leaf(leaf)
            writing.write(job, list(leaf.chunk_slices()), names)
            jobs.append((index, job, names))
            while len(jobs) > 1 and not jobs[0][1].left:
                pull.record(state, *jobs.popleft())
            if len(jobs) > JOBS:
                fetcher.finish()
        while jobs:
            fetcher.finish(lambda: not jobs[0][1].left)
            pull.record(state, *jobs.popleft())
        fetcher.finish()
    finally:
        fetcher.close()
        writing.close()
        sources.close()
        pull.progress.finish()
        os.close(folder)
    return fetcher, writing


def _install(tree: Path, dest: Path) -> None:
    """Rename the finished folder to `dest`, which is not there or empty."""
    try:
        tree.rename(dest)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            message = f"{dest} was filled while the pull ran: name another destination, or start again"
            raise ConflictError(message) from error
        raise local_error(error, os.fsencode(dest)) from error
