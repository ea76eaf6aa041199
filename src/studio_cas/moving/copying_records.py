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
    from studio_cas.formats.experiment import Created

LATER = ("started", "stop", "ended")


def copy_owner(source: Backend, target: Backend, experiment: str, *, join: bool) -> None:
    """The experiment has the same owner in the target. Raises ConflictError where it has another (without `join`)."""
    owner = records.read_owner(source, experiment)
    if owner is None:
        return
    try:
        records.claim(target, owner, join=join)
    except ConflictError as error:
        current = records.read_owner(target, experiment)
        other = current.user if current else "somebody else"
        message = f"in {target.url} the experiment {experiment} belongs to {other}, and here to {owner.user}"
        raise ConflictError(f"{message}: copy to another store, or add to it with --join") from error


def copy_attempts(
    source: Backend, target: Backend, experiment: str, numbers: Mapping[tuple[str, int], int] | None = None
) -> int:
    """Copy what the target lacks of each attempt; how many records were created.

    `numbers`: versions (tag, number) that have another number in the target.
    """
    created = 0
    there = [records.read_created(target, experiment, number) for number in records.list_attempts(target, experiment)]
    for number in records.list_attempts(source, experiment):
        attempt = records.read_created(source, experiment, number)
        counterpart = next((found for found in there if _same(found, attempt)), None)
        if counterpart is None:
            counterpart = _create(target, attempt)
            created += 1
        created += sum(_copy(source, target, attempt, counterpart, name, numbers or {}) for name in LATER)
    return created


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
