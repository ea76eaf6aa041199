"""Reading and writing the records of experiments: each is created once, and two runs never share an attempt."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError, NotFoundError, ObjectExistsError
from studio_cas.experiment.lifecycle import Attempt, fold
from studio_cas.formats import experiment as records

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend
    from studio_cas.formats.experiment import Created, Ended, Owner, Started, Stop


def claim(backend: Backend, owner: Owner, *, join: bool) -> Owner:
    """Make `owner` the owner of the experiment, or find that it has one. Raises ConflictError unless they are the same.

    With `join`, somebody else's experiment is no conflict.
    """
    current = read_owner(backend, owner.experiment)
    if current is None:
        key = records.owner_key(owner.experiment)
        try:
            backend.create(key, [records.encode(owner)])
        except ObjectExistsError:  # another run was first
            current = records.decode_owner(bytes(backend.read(key)))
        else:
            return owner
    if current.user != owner.user and not join:
        raise ConflictError(
            f"the experiment {owner.experiment} belongs to {current.user}, and you are {owner.user}: "
            "choose another name, or add to it with --join"
        )
    return current


def read_owner(backend: Backend, experiment: str) -> Owner | None:
    """Who owns the experiment; None where nobody does."""
    try:
        return records.decode_owner(bytes(backend.read(records.owner_key(experiment))))
    except NotFoundError:
        return None


def list_attempts(backend: Backend, experiment: str) -> list[int]:
    """The numbers of the attempts, ascending."""
    return [int(name) for name in backend.list_names(records.attempts_prefix(experiment)) if name.isdecimal()]


def create_attempt(backend: Backend, created: Created) -> Created:
    """Write `created` under the next free number, and return it with that number."""
    attempt = max(list_attempts(backend, created.experiment), default=0)
    while attempt < records.ATTEMPT_LIMIT:
        attempt += 1
        numbered = dataclasses.replace(created, attempt=attempt)
        try:
            backend.create(records.attempt_key(created.experiment, attempt, "created"), [records.encode(numbered)])
        except ObjectExistsError:
            continue  # another run took it
        return numbered
    raise ConflictError(f"the experiment {created.experiment} has {attempt} attempts: choose another name")


def write_started(backend: Backend, created: Created, started: Started) -> None:
    """Say where the attempt runs."""
    backend.create(records.attempt_key(created.experiment, created.attempt, "started"), [records.encode(started)])


def write_heartbeat(backend: Backend, created: Created, number: int, time: float) -> None:
    """Say that the attempt is alive."""
    key = records.heartbeat_key(created.experiment, created.attempt, number)
    backend.create(key, [records.encode(records.Heartbeat(number, time))])


def count_heartbeats(backend: Backend, created: Created) -> int:
    """The number of the newest heartbeat, 0 where there is none; one listing."""
    for found in backend.list(records.heartbeats_prefix(created.experiment, created.attempt), limit=1):
        return records.heartbeat_number(found.key)
    return 0


def request_stop(backend: Backend, created: Created, stop: Stop) -> Stop:
    """Ask the attempt to stop, wherever it runs: it looks every 30 seconds. Who asked first is returned."""
    key = records.attempt_key(created.experiment, created.attempt, "stop")
    try:
        backend.create(key, [records.encode(stop)])
    except ObjectExistsError:
        return records.decode_stop(bytes(backend.read(key)))
    return stop


def stop_requested(backend: Backend, created: Created) -> Stop | None:
    """Who asks the attempt to stop, None where nobody does; one read."""
    data = _read(backend, created.experiment, created.attempt, "stop")
    return records.decode_stop(data) if data else None


def write_ended(backend: Backend, created: Created, ended: Ended) -> None:
    """Say how the attempt ended; only the first word counts."""
    key = records.attempt_key(created.experiment, created.attempt, "ended")
    with contextlib.suppress(ObjectExistsError):
        backend.create(key, [records.encode(ended)])


def read_created(backend: Backend, experiment: str, attempt: int) -> Created:
    """What was asked for. Raises NotFoundError."""
    data = _read(backend, experiment, attempt, "created")
    if data is None:
        raise NotFoundError(f"the experiment {experiment} has no attempt {attempt}")
    return records.decode_created(data)


def complete(backend: Backend, created: Created, now: float) -> Attempt:
    """The attempt with what its other records say at time `now`."""
    experiment, attempt = created.experiment, created.attempt
    started, ended = (_read(backend, experiment, attempt, record) for record in ("started", "ended"))
    beats = [] if ended else list(backend.list(records.heartbeats_prefix(experiment, attempt), limit=1))
    return fold(
        created,
        records.decode_started(started) if started else None,
        max((beat.created for beat in beats), default=None),
        records.decode_ended(ended) if ended else None,
        now,
    )


def read_attempt(backend: Backend, experiment: str, attempt: int, now: float) -> Attempt:
    """What the records say at time `now`. Raises NotFoundError."""
    return complete(backend, read_created(backend, experiment, attempt), now)


def _read(backend: Backend, experiment: str, attempt: int, record: str) -> bytes | None:
    try:
        return bytes(backend.read(records.attempt_key(experiment, attempt, record)))
    except NotFoundError:
        return None
