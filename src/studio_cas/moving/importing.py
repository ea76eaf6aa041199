"""Import: what a source has, one artifact after another, becomes versions; and the records of its experiments, runs.

found in the source → imported before? → staged in a folder of our own → captured → remembered

One artifact that is damaged or unsafe is passed over and named; a store that is away, or a full disk, ends the import,
which goes on from there when it is started again.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from studio_cas.errors import (
    ConflictError,
    CorruptError,
    LocalIOError,
    NotFoundError,
    UsageError,
)
from studio_cas.experiment import records
from studio_cas.formats.experiment import Owner
from studio_cas.moving.copying_records import write_attempt
from studio_cas.moving.studioml_records import created_of, ended_of, started_of
from studio_cas.moving.unpack_tree import Rules
from studio_cas.worktree import statcache
from studio_cas.worktree.capture import capture
from studio_cas.worktree.fetch import local_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from studio_cas.moving.import_journal import ImportJournal
    from studio_cas.moving.items import Content, Item
    from studio_cas.moving.layout_studioml import StudioMLExperiment
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store

State = Literal["imported", "there", "found", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one artifact: `there` where an earlier import made it, `found` in a dry run.

    `number`: its version, 0 where there is none; `size` in plain bytes, of a dry run those in the source; `left_out`:
    what of it was passed over.
    """

    item: Item
    state: State
    number: int = 0
    size: int = 0
    reason: str = ""
    left_out: tuple[str, ...] = ()


@dataclass
class Import:
    """One import while it runs; `tell` hears of each artifact as it is done."""

    store: Store
    journal: ImportJournal
    user: str
    progress: Callable[[], Progress]
    tell: Callable[[Imported], None]
    rules: Rules = field(default_factory=Rules)
    join: bool = False
    dry_run: bool = False
    compression: bool = True
    records: int = 0
    _claimed: set[str] = field(default_factory=set)

    def items(self, items: Iterable[Item]) -> list[Imported]:
        """Import each of `items`. Raises what makes going on useless: StoreUnavailableError, NoSpaceError."""
        done = []
        for item in items:
            made = self._item(item)
            self.tell(made)
            done.append(made)
        return done

    def experiment(self, found: StudioMLExperiment) -> None:
        """Import the artifacts of an experiment of StudioML, then its record."""
        done = self.items(found.items)
        if found.record is None or self.dry_run:
            return
        made = {one.item.tag: one.number for one in done if one.number}
        numbers = {tag: (number, number) for tag, number in made.items()}
        if not made:
            return
        created = created_of(found.record, found.name, found.tags, self.user)
        started, ended = started_of(found.record), ended_of(found.record, numbers)
        self.records += write_attempt(self.store.backend, created, started, ended)

    def _item(self, item: Item) -> Imported:
        if item.problem or item.content is None:
            return Imported(item, "failed" if item.broken else "skipped", reason=item.problem)
        number = self.journal.number(item)
        if number is not None:
            return Imported(item, "there", number)
        if self.dry_run:
            return Imported(item, "found", size=item.size)
        try:
            return self._import(item, item.content)
        except (CorruptError, ConflictError, UsageError, NotFoundError, LocalIOError) as error:
            return Imported(item, "failed", reason=str(error))

    def _import(self, item: Item, content: Content) -> Imported:
        self._claim(item.experiment)
        with self.journal.folder() as folder:
            with local_errors(folder):
                staged = content.stage(folder, self.rules)
            result = capture(
                self.store,
                staged.root,
                item.experiment,
                item.tag,
                ignore=None,
                progress=self.progress(),
                user=self.user,
                compression=self.compression,
                moment=None if item.time is None else max(0.0, min(item.time, time.time())),
            )
            if staged.root.is_relative_to(folder):
                statcache.path_of(self.store, staged.root).unlink(missing_ok=True)
        version = result.version
        self.journal.remember(item, version.number)
        left_out = (*staged.skipped, *result.skipped, *(f"{path}: is being written" for path in result.stale))
        state: State = "imported" if result.created else "there"
        return Imported(item, state, version.number, version.size, left_out=left_out)

    def _claim(self, experiment: str) -> None:
        if experiment not in self._claimed:
            owner = Owner(experiment, self.user, os.uname().nodename, time.time())
            records.claim(self.store.backend, owner, join=self.join)
            self._claimed.add(experiment)
