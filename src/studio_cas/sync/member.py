"""One pair as its daemon sees it: when it is due, how it is watched, what became of its last cycle."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio_cas.sync import watcher
from studio_cas.sync.changes import Changes
from studio_cas.sync.trouble import trouble_of
from studio_cas.sync.watcher import Mode
from studio_cas.worktree.ignore import matcher

if TYPE_CHECKING:
    from pathlib import Path

    from studio_cas.formats.version import Version
    from studio_cas.sync.control import Asker
    from studio_cas.sync.debounce import Debounce
    from studio_cas.sync.engine import Cycle
    from studio_cas.sync.journal import PairFolder
    from studio_cas.sync.spec import Pair
    from studio_cas.sync.trouble import Trouble
    from studio_cas.sync.watcher import Watch, Watcher
    from studio_cas.worktree.capture import CaptureResult
    from studio_cas.worktree.ignore import Ignored

FINAL_TRIES = 3
FINAL_PAUSE = 1.0  # seconds before a last capture is tried again: somebody still writes, the store is away for a moment
WATCH_AGAIN = 20  # cycles after which the system is asked again for watches that it had not
LOOKED_AT = 4e-6  # seconds of processor time that a file costs which has not changed, measured with a million
NAMES_SHOWN = 100
SURVEYED = 2000  # entries that are looked at to guess the size of what was never captured


@dataclass
class Member:
    """The state of one pair. Times of `debounce` and `final_due` are monotonic, all others since the epoch."""

    pair: Pair
    folder: PairFolder
    debounce: Debounce
    left_out: tuple[Path, ...]
    about: dict[str, Any]
    changes: Changes = field(default_factory=Changes)
    watch: Watch | None = None
    mode: Mode = field(default_factory=Mode)
    running: bool = False
    waiting: list[Asker] = field(default_factory=list)
    answering: list[Asker] = field(default_factory=list)
    version: Version | None = None
    first: int | None = None
    last: CaptureResult | None = None
    trouble: Trouble | None = None
    error: Exception | None = None
    checked: float | None = None
    cycles: int = 0
    rate: float = 0.0
    final_due: float | None = None
    final_left: int = FINAL_TRIES
    last_one: bool = False
    done: bool = False
    leaving: list[Asker] = field(default_factory=list)
    begun_weight: int = 0
    _pending: set[str] | None = None
    _being_captured: set[str] | None = field(default_factory=set)
    _ignored: Ignored | None = None
    _written: dict[str, Any] = field(default_factory=dict)

    def due(self) -> float:
        """When its next cycle begins; never while one is running, or after the last."""
        if self.running or self.done:
            return float("inf")
        return self.debounce.due() if self.final_due is None else self.final_due

    def notice(self, now: float) -> None:
        """Take what the watcher told, without what is left out."""
        paths = self.changes.take()
        if paths is None:
            self._pending = None
        elif kept := [path for path in paths if not self._is_left_out(path)]:
            if self._pending is not None:
                self._pending.update(kept)
        else:
            return
        self.debounce.change(now)

    def _is_left_out(self, path: str) -> bool:
        watch = self.watch
        if watch is None or watch.only:
            return False
        full = f"{watch.root}/{path}"
        if any(full == str(folder) or full.startswith(f"{folder}/") for folder in self.left_out):
            return True
        is_folder = False
        return self._ignored is not None and self._ignored(os.fsencode(path), is_folder)

    def look(self, watch_with: Watcher) -> None:
        """Watch what is there now, in the place of what was; called before each capture, so that no change slips by."""
        path = self.pair.path
        again = self.mode.mode != watcher.EVENTS and self.cycles % WATCH_AGAIN == WATCH_AGAIN - 1
        if self.watch is not None and (again or not watcher.still_there(self.watch, path)):
            watch_with.unwatch(self.watch)
            self.watch, self.mode = None, Mode()
        try:
            self._ignored = None if path.is_file() else matcher(path, self.pair.ignore)
            if self.watch is None:
                self.watch, self.mode = watch_with.watch(path, self.changes)
        except OSError:
            return  # the capture tells of it
        if self.watch is not None and self.watch.grown:
            self.mode = watcher.compare(self.watch, self._ignored, self._pruned())

    def _pruned(self) -> set[tuple[int, int]]:
        found = set()
        for folder in self.left_out:
            try:
                status = folder.stat()
            except OSError:
                continue
            found.add((status.st_dev, status.st_ino))
        return found

    def pending_bytes(self) -> int | None:
        """Bytes of the files that changed since the last version; None where nobody knows."""
        watch = self.watch
        if self._pending is None or self._being_captured is None or watch is None or self.mode.mode != watcher.EVENTS:
            return None
        total = 0
        for path in self._pending | self._being_captured:
            try:
                total += os.stat(f"{watch.root}/{path}", follow_symlinks=False).st_size  # noqa: PTH116
            except OSError:
                continue
        return total

    def weight(self) -> int:
        """How many bytes the next cycle may have to read: a guess, for the order."""
        known = self.pending_bytes()
        if known is not None:
            return known
        return self.last.bytes_read if self.last is not None else survey(self.pair.path)

    def finish(self, now: float) -> None:
        """Its next cycle is the last one."""
        if self.final_due is None:
            self.final_due = now

    def begin(self, now: float, *, last_one: bool) -> None:
        """A cycle begins: who waits by now is answered by it."""
        self.running = True
        self.debounce.begin(now)
        self.answering, self.waiting = self.waiting, []
        self._being_captured, self._pending = self._pending, set()
        self.last_one = last_one

    def end(self, cycle: Cycle, now: float) -> None:
        """A cycle ended."""
        self.running = False
        self.cycles += 1
        self.checked = time.time()
        result = cycle.result
        if cycle.error is not None:
            self.error = cycle.error
            self.trouble = trouble_of(cycle.error, self.trouble, self.checked)
            self.debounce.fail(now)
            if self._pending is not None and self._being_captured is not None:
                self._pending |= self._being_captured
            else:
                self._pending = None
        else:
            self.trouble = self.error = None
            if self._pending is not None and result is not None:
                self._pending.update(result.stale)
            if result is not None:
                self.version, self.last = result.version, result
                self.first = self.first or result.version.number
                self.rate = result.bytes_read / max(cycle.seconds, 0.001) if result.bytes_read else self.rate
            found = result is not None and (result.created or bool(result.stale))
            blind = self.mode.mode != watcher.EVENTS
            cost = LOOKED_AT * result.files if result is not None else 0.0
            self.debounce.succeed(now, found=found, cost=cost, blind=blind)
        self._being_captured = set()
        self._end_final(cycle, now)

    def _end_final(self, cycle: Cycle, now: float) -> None:
        if not self.last_one:
            return
        self.final_left -= 1
        again = self.trouble.passing if self.trouble else bool(cycle.result and cycle.result.stale)
        self.done = not again or self.final_left <= 0
        self.final_due = now + FINAL_PAUSE

    def answer(self) -> None:
        """Tell those who waited for the cycle that has just ended."""
        for asker in self.answering:
            if self.error is not None:
                asker.answer(error=getattr(self.error, "kind", "error"), sentence=f"{self.pair.name}: {self.error}")
            else:
                asker.answer(done=True, version=self.version.name if self.version else None)
            asker.close()
        self.answering = []

    def leave(self, watch_with: Watcher) -> None:
        """It is no longer kept: tell those who asked for that."""
        if self.watch is not None:
            watch_with.unwatch(self.watch)
        problems = [f"{self.pair.name} was not captured: {self.trouble.sentence}"] if self.trouble else []
        code = self.trouble.exit_code if self.trouble else 0
        for asker in self.leaving:
            asker.answer(done=True, code=code, problems=problems, version=self.version.number if self.version else None)
            asker.close()

    def complaint(self, known: Trouble | None) -> str | None:
        """What a person should hear of the cycle that ended; `known` is the trouble before it."""
        name, trouble = self.pair.name, self.trouble
        if trouble is None:
            return f"{name} is captured again" if known is not None else None
        if known is not None and known.kind == trouble.kind:
            return None
        return f"{name} could not be captured: {trouble.sentence}; what to do: {trouble.advice}"

    def status(self) -> dict[str, Any]:
        """What status shows of the pair."""
        version, last = self.version, self.last
        return {
            **self.about,
            "path": str(self.pair.path),
            "experiment": self.pair.experiment,
            "tag": self.pair.tag,
            "pid": os.getpid(),
            "trouble": self.trouble.record() if self.trouble else None,
            "version": {"number": version.number, "time": version.time, "files": version.files, "size": version.size}
            if version
            else None,
            "first": self.first,
            "checked": self.checked,
            "cycles": self.cycles,
            "pending": self.pending_bytes(),
            "rate": round(self.rate),
            "stale": list(last.stale[:NAMES_SHOWN]) if last else [],
            "skipped": list(last.skipped[:NAMES_SHOWN]) if last else [],
            "watch": {"mode": self.mode.mode, "reason": self.mode.reason},
        }

    def write_status(self, phase: str = "watching") -> None:
        """Write what status shows, where it is something new."""
        status = {**self.status(), "phase": "capturing" if self.running else phase}
        if status != self._written:
            self._written = status
            self.folder.write_status({**status, "updated": time.time()})


def told_of(result: CaptureResult) -> str | None:
    """The version that a capture made, in a sentence; None where it made none."""
    if not result.created:
        return None
    version = result.version
    stale = f", {len(result.stale)} of them still being written" if result.stale else ""
    return f"{version.name}: {version.files:,} files, {version.size:,} bytes{stale}"


def survey(path: Path) -> int:
    """The bytes of the first files below `path`: enough to tell small from large."""
    total, seen, stack = 0, 0, [str(path)]
    while stack and seen < SURVEYED:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except NotADirectoryError:
            return path.stat().st_size
        except OSError:
            continue
    return total
