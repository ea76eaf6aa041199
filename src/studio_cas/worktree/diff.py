"""What differs between two versions: leaves that are the same are not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.store.trees import TreeReader
from studio_cas.worktree.listing import ListedEntry, entries_of
from studio_cas.worktree.pulling import Change
from studio_cas.worktree.remembered import order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store

__all__ = ["Change", "diff"]


def diff(store: Store, a: Version, b: Version) -> Iterator[Change]:
    """Changes from `a` to `b`, in order of path; a folder counts as a path of its own."""
    first, second = TreeReader(store, a), TreeReader(store, b)
    common = {row.leaf_id for row in first.root.leaves} & {row.leaf_id for row in second.root.leaves}
    left, right = entries_of(first, common), entries_of(second, common)
    old, new = next(left, None), next(right, None)
    while old or new:
        if new is None or (old and order(old.path) < order(new.path)):
            assert old  # noqa: S101 (one of the two is left)
            yield Change(old.path, "removed", old.size, None)
            old = next(left, None)
        elif old is None or order(new.path) < order(old.path):
            yield Change(new.path, "added", None, new.size)
            new = next(right, None)
        else:
            if _differs(old, new):
                yield Change(new.path, "changed", old.size, new.size)
            old, new = next(left, None), next(right, None)


def _differs(a: ListedEntry, b: ListedEntry) -> bool:
    return (a.kind, a.executable, a.target, a.content) != (b.kind, b.executable, b.target, b.content)
