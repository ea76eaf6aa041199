"""Finding runs in a store: by name, or all that match. A run is one attempt of an experiment, named `exp@2`."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from studio_cas.config.spelling import did_you_mean
from studio_cas.errors import CorruptError, NotFoundError, UsageError
from studio_cas.experiment import records
from studio_cas.experiment.lifecycle import Status
from studio_cas.formats.keys import EXPERIMENTS, check_name, is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from studio_cas.backends.base import Backend
    from studio_cas.experiment.lifecycle import Attempt
    from studio_cas.formats.experiment import Created

_T = TypeVar("_T")
THREADS = 16  # records are small: what a read costs is the way to the store and back
BATCH = 64  # attempts whose records are read at once
_NAME = re.compile(r"(?P<experiment>[^@/]+)(?:@(?P<attempt>-?\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class RunName:
    """What a person types for a run. `attempt`: None for the latest, -1 for the one before it, and so on."""

    experiment: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs to list: shell patterns, statuses, and a time in seconds since the epoch; None lets all through."""

    experiment: str | None = None
    user: str | None = None
    host: str | None = None
    since: float | None = None
    statuses: frozenset[Status] = frozenset(Status)

    def may_be(self, created: Created) -> bool:
        """Whether what was asked for matches."""
        return _matches(created.user, self.user) and (self.since is None or created.time >= self.since)

    def is_met_by(self, attempt: Attempt) -> bool:
        """Whether the whole record matches; the host is the one where it runs, once it does."""
        host = attempt.started.host if attempt.started else attempt.created.host
        return attempt.status in self.statuses and _matches(host, self.host)


def _matches(text: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(text, pattern)


def run_name(created: Created) -> str:
    """`exp@2`."""
    return f"{created.experiment}@{created.attempt}"


def parse_run(text: str) -> RunName:
    """`EXP` or `EXP@ATTEMPT`. Raises UsageError."""
    match = _NAME.fullmatch(text)
    if match is None or match["attempt"] == "0":
        raise UsageError(f"{text!r} names no run: write EXPERIMENT for its latest attempt, or EXPERIMENT@ATTEMPT")
    experiment = check_name(match["experiment"], "an experiment")
    return RunName(experiment, int(match["attempt"]) if match["attempt"] else None)


def attempt_number(backend: Backend, name: RunName) -> int:
    """The number of the attempt that `name` means. Raises NotFoundError, which says what there is."""
    numbers = records.list_attempts(backend, name.experiment)
    if not numbers:
        raise NotFoundError(_unknown(backend, name.experiment))
    if name.attempt is None:
        return numbers[-1]
    if name.attempt in numbers:
        return name.attempt
    if name.attempt < 0 and len(numbers) > -name.attempt:
        return numbers[name.attempt - 1]
    known = ", ".join(map(str, numbers[-20:]))
    raise NotFoundError(f"the experiment {name.experiment} has no attempt {name.attempt}: there are {known}")


def _unknown(backend: Backend, experiment: str) -> str:
    known = _names(backend)
    if experiment in known:
        return f"the experiment {experiment} was never run: its artifacts were pushed by hand"
    hint = did_you_mean(experiment, known) or ": studio runs list names those there are"
    return f"there is no run of an experiment {experiment!r}{hint}"


def next_created(backend: Backend, created: Created) -> float | None:
    """When the attempt after this one was created, in seconds since the epoch; None where it is the latest."""
    for number in records.list_attempts(backend, created.experiment):
        if number > created.attempt:
            with suppress(NotFoundError):  # it is being removed
                return records.read_created(backend, created.experiment, number).time
    return None


def find_run(backend: Backend, text: str, now: float) -> Attempt:
    """The run that `text` names, at time `now`. Raises UsageError and NotFoundError."""
    name = parse_run(text)
    return records.read_attempt(backend, name.experiment, attempt_number(backend, name), now)


def list_runs(backend: Backend, wanted: Wanted, now: float, tell: Callable[[str], None]) -> Iterator[Attempt]:
    """The runs that match, the newest first; `tell` gets a sentence about each that cannot be read.

    What was asked for is read of every run, the rest only of those that are taken.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        names = _experiments(backend, wanted.experiment)
        numbers = pool.map(lambda name: records.list_attempts(backend, name), names)
        pairs = [(name, number) for name, found in zip(names, numbers, strict=True) for number in found]

        def read(pair: tuple[str, int]) -> Created | None:
            return _readable(lambda: records.read_created(backend, *pair), tell)

        def complete(created: Created) -> Attempt | None:
            return _readable(lambda: records.complete(backend, created, now), tell)

        found = [created for created in pool.map(read, pairs) if created is not None and wanted.may_be(created)]
        found.sort(key=lambda created: (-created.time, created.experiment, -created.attempt))
        for start in range(0, len(found), BATCH):
            for attempt in pool.map(complete, found[start : start + BATCH]):
                if attempt is not None and wanted.is_met_by(attempt):
                    yield attempt


def _experiments(backend: Backend, pattern: str | None) -> list[str]:
    """The experiments that match; one that is named in full is not looked for among all."""
    if pattern is not None and not set(pattern) & set("*?["):
        return [pattern]
    return [name for name in _names(backend) if _matches(name, pattern)]


def _names(backend: Backend) -> list[str]:
    """All experiments that were run, without names that nobody can have given."""
    return list(filter(is_name, backend.list_names(EXPERIMENTS)))


def _readable(read: Callable[[], _T], tell: Callable[[str], None]) -> _T | None:
    try:
        return read()
    except NotFoundError:  # it is being removed
        return None
    except CorruptError as error:
        tell(str(error))
        return None
