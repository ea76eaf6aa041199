"""The records of experiments in a store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import ConflictError, NotFoundError
from studio_cas.experiment import records
from studio_cas.experiment.lifecycle import Status
from studio_cas.formats.experiment import Created, Ended, Owner, Started, Stop

CREATED = Created("exp", 0, "anna", "host", 1000.0, ("train.py",), "/here", 60.0)
ANNA, BEN = Owner("exp", "anna", "host", 1.0), Owner("exp", "ben", "host", 2.0)


@pytest.fixture
def backend():
    return MemoryBackend()


def test_the_first_user_owns_the_name(backend):
    assert records.claim(backend, ANNA, join=False) == ANNA
    assert records.claim(backend, ANNA, join=False) == ANNA
    with pytest.raises(ConflictError, match="belongs to anna, and you are ben"):
        records.claim(backend, BEN, join=False)
    assert records.claim(backend, BEN, join=True) == ANNA


def test_attempts_are_numbered_from_one(backend):
    assert [records.create_attempt(backend, CREATED).attempt for _ in range(3)] == [1, 2, 3]
    assert records.list_attempts(backend, "exp") == [1, 2, 3]
    assert records.list_attempts(backend, "other") == []


def test_runs_that_start_together_never_share_an_attempt(backend):
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: records.create_attempt(backend, CREATED).attempt, range(40)))
    assert sorted(numbers) == list(range(1, 41))


def test_an_attempt_tells_its_life(backend):
    created = records.create_attempt(backend, CREATED)
    assert records.read_attempt(backend, "exp", 1, 1e12).status is Status.WAITING
    records.write_started(backend, created, Started(1001.0, "host", 7, "linux", "/bin/python", "3.11"))
    assert records.read_attempt(backend, "exp", 1, 1002.0).status is Status.RUNNING
    assert records.read_attempt(backend, "exp", 1, 9e12).status is Status.LOST
    records.write_heartbeat(backend, created, 1, 1060.0)
    records.write_heartbeat(backend, created, 2, 1120.0)
    records.write_ended(backend, created, Ended(1130.0, "stopped", 130))
    records.write_ended(backend, created, Ended(1140.0, "finished", 0))
    found = records.read_attempt(backend, "exp", 1, 9e12)
    assert (found.status, found.exit_code, found.duration) == (Status.STOPPED, 130, 129.0)


def test_an_attempt_that_does_not_exist(backend):
    with pytest.raises(NotFoundError, match="has no attempt 1"):
        records.read_attempt(backend, "exp", 1, 0.0)


def test_the_first_who_asks_an_attempt_to_stop_is_recorded(backend):
    created = records.create_attempt(backend, CREATED)
    assert records.stop_requested(backend, created) is None
    ben = Stop(5.0, "ben", "elsewhere")
    assert records.request_stop(backend, created, ben) == ben
    assert records.request_stop(backend, created, Stop(6.0, "anna", "host")) == ben
    assert records.stop_requested(backend, created) == ben
