"""What a capture looks at: the folder or file itself, what is left out of it, and a scan whose rows can be put back."""

from __future__ import annotations

import os
import stat
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.errors import LocalIOError, NotFoundError, UsageError
from studio_cas.worktree.remembered import order
from studio_cas.worktree.scan import Row, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from studio_cas.store.store import Store
    from studio_cas.worktree.scan import Columns


def open_root(root: Path) -> tuple[int, Row | None]:
    """The folder `root`, open; or the open folder that the file `root` lies in, and the row of that file.

    Raises NotFoundError, LocalIOError, UsageError (neither a file nor a folder).
    """
    try:
        status = root.stat()
    except FileNotFoundError:
        message = f"{root} does not exist: nothing to capture"
        raise NotFoundError(message) from None
    except OSError as error:
        message = f"{root} cannot be read: {error.strerror}"
        raise LocalIOError(message) from error
    folder = stat.S_ISDIR(status.st_mode)
    row = row_of(os.fsencode(root.name), status)
    if row is None:
        message = f"{root} is neither a file nor a folder"
        raise UsageError(message)
    try:
        target = root if folder else root.resolve().parent
        opened = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        message = f"{root} cannot be read: {error.strerror}"
        raise LocalIOError(message) from error
    return opened, None if folder else row._replace(path=os.fsencode(root.resolve().name))


def pruned(store: Store, root: Path, exclude: Sequence[Path]) -> set[tuple[int, int]]:
    """(device, inode) of the folders to leave out: those given, and what studio itself keeps. Raises UsageError."""
    kept = [store.home / name for name in ("store", "blobcache", "cache", "spool", "keys")]
    if store.backend.local:
        kept.append(Path(store.url))
    if any(root.resolve().is_relative_to(path.resolve()) for path in kept):
        message = f"{root} belongs to studio itself: a store cannot be captured into a store"
        raise UsageError(message)
    found = set()
    for path in (*exclude, *kept):
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found


def without_keys(
    rows: Iterator[Columns], keys: frozenset[tuple[int, int]], skip: Callable[[bytes, str], None]
) -> Iterator[Columns]:
    """The rows but for private keys (device, inode), also those that were captured before they were keys."""
    for row in rows:
        if (row[6], row[5]) in keys:
            skip(row[0], "is the key that signs versions, and is left out")
        else:
            yield row


class Rows:
    """The scan, with rows that can be put back; several at once are plain tuples."""

    def __init__(self, rows: Iterator[Columns]) -> None:
        self._rows = rows
        self._returned: deque[Columns] = deque()
        self._added: list[Row] = []

    def add(self, row: Row) -> None:
        """Give `row` too, where it belongs; where the scan has that path as well, this one is dropped."""
        self._added.append(row)
        self._added.sort(key=lambda one: order(one.path))

    def next(self) -> Row | None:
        """The next row, or None at the end."""
        columns = self._returned.popleft() if self._returned else next(self._rows, None)
        row = None if columns is None else Row._make(columns)
        return row if not self._added else self._merged(row)

    def _merged(self, row: Row | None) -> Row | None:
        """The first of `row` and of what was added."""
        if row is not None and order(row.path) > order(self._added[0].path):
            self._returned.appendleft(row)
        elif row is not None:
            if row.path == self._added[0].path:
                self._added.pop(0)
            return row
        return self._added.pop(0)

    def more(self) -> bool:
        """Whether a row follows."""
        row = self.next()
        if row is not None:
            self._returned.appendleft(row)
        return row is not None

    def take(self, count: int) -> list[Columns]:
        """At most `count` rows; those that were added are given by `next`."""
        if self._added:
            return []
        taken = [self._returned.popleft() for _ in range(min(count, len(self._returned)))]
        taken.extend(islice(self._rows, count - len(taken)))
        return taken

    def put_back(self, rows: list[Columns]) -> None:
        """Give `rows` again, first."""
        self._returned.extendleft(reversed(rows))
