"""Copy the records of an experiment to another store: its owner, and what is recorded of each attempt.

An attempt keeps its number where that is free, else it gets the next one. Heartbeats stay behind: they say that a run
was alive by the clock of the store that they lie in.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError, NotFoundError, ObjectExistsError
from studio_cas.experiment import records
from studio_cas.formats import experiment as formats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studio_cas.backends.base import Backend
    from studio_cas.formats.experiment import Created, Ended, Owner, Started

LATER = ("started", "stop", "ended")


def copy_owner(source: Backend, target: Backend, experiment: str, *, join: bool) -> None:
    """The experiment has the same owner in the target. Raises ConflictError where it has another (without `join`)."""
    owner = records.read_owner(source, experiment)
    if owner is None:
        return
    try:
        records.claim(target, owner, join=join)
    except ConflictError as error:
        raise _belongs(target, experiment, records.read_owner(target, experiment), owner) from error


def check_owner(source: Backend, target: Backend, experiment: str, *, join: bool) -> None:
    """Raises ConflictError where `copy_owner` would, and claims nothing."""
    owner, current = records.read_owner(source, experiment), records.read_owner(target, experiment)
    if owner is not None and current is not None and current.user != owner.user and not join:
        raise _belongs(target, experiment, current, owner)


def _belongs(target: Backend, experiment: str, current: Owner | None, owner: Owner) -> ConflictError:
    other = current.user if current else "somebody else"
    message = f"in {target.url} the experiment {experiment} belongs to {other}, and here to {owner.user}"
    return ConflictError(f"{message}: copy to another store, or add to it with --join")


def missing_records(source: Backend, target: Backend | None, experiment: str) -> int:
    """How many records of attempts `copy_attempts` would create; `target` is None where there is no such store."""
    there = _attempts(target, experiment) if target is not None else []
    count = 0
    for attempt in _attempts(source, experiment):
        found = next((one for one in there if _same(one, attempt)), None)
        count += found is None
        for name in LATER:
            has = _holds(source, attempt, name)
            count += has and (target is None or found is None or not _holds(target, found, name))
    return count


def _holds(backend: Backend, attempt: Created, name: str) -> bool:
    try:
        backend.stat(formats.attempt_key(attempt.experiment, attempt.attempt, name))
    except NotFoundError:
        return False
    return True


def copy_attempts(
    source: Backend, target: Backend, experiment: str, numbers: Mapping[tuple[str, int], int] | None = None
) -> int:
    """Copy what the target lacks of each attempt; how many records were created.

    `numbers`: versions (tag, number) that have another number in the target.
    """
    created = 0
    there = _attempts(target, experiment)
    for number in records.list_attempts(source, experiment):
        attempt = records.read_created(source, experiment, number)
        counterpart, fresh = _counterpart(target, there, attempt)
        created += fresh
        created += sum(_copy(source, target, attempt, counterpart, name, numbers or {}) for name in LATER)
    return created


def write_attempt(target: Backend, created: Created, started: Started | None, ended: Ended | None) -> int:
    """Record an attempt that was made elsewhere, unless it is there; how many records were created."""
    counterpart, fresh = _counterpart(target, _attempts(target, created.experiment), created)
    count = int(fresh)
    for name, record in (("started", started), ("ended", ended)):
        if record is not None:
            with suppress(ObjectExistsError):
                key = formats.attempt_key(created.experiment, counterpart.attempt, name)
                target.create(key, [formats.encode(record)])
                count += 1
    return count


def _attempts(backend: Backend, experiment: str) -> list[Created]:
    return [records.read_created(backend, experiment, number) for number in records.list_attempts(backend, experiment)]


def _counterpart(target: Backend, there: list[Created], attempt: Created) -> tuple[Created, bool]:
    """The attempt of `there` that is `attempt` but for its number, or one that is created now; and whether it is."""
    found = next((found for found in there if _same(found, attempt)), None)
    return (found, False) if found is not None else (_create(target, attempt), True)


def _same(found: Created, attempt: Created) -> bool:
    return replace(found, attempt=attempt.attempt) == attempt


def _create(target: Backend, attempt: Created) -> Created:
    key = formats.attempt_key(attempt.experiment, attempt.attempt, "created")
    try:
        target.create(key, [formats.encode(attempt)])
    except ObjectExistsError:
        return records.create_attempt(target, attempt)
    return attempt


def _copy(
    source: Backend, target: Backend, old: Created, new: Created, name: str, numbers: Mapping[tuple[str, int], int]
) -> bool:
    """Create one record of an attempt where the source has it and the target has not."""
    try:
        data = bytes(source.read(formats.attempt_key(old.experiment, old.attempt, name)))
    except NotFoundError:
        return False
    if name == "ended" and numbers:
        ended = formats.decode_ended(data)
        renumbered = {
            tag: (numbers.get((tag, first), first), numbers.get((tag, last), last))
            for tag, (first, last) in ended.versions.items()
        }
        data = formats.encode(replace(ended, versions=renumbered))
    with suppress(ObjectExistsError):
        target.create(formats.attempt_key(new.experiment, new.attempt, name), [data])
        return True
    return False
