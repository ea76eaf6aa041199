"""Records of runs that never ran, for what reads them."""

from __future__ import annotations

import dataclasses

import pytest
from tests.privilege import create_only

from studio_cas.backends.memory import MemoryBackend
from studio_cas.experiment import records
from studio_cas.formats.experiment import Created, Ended, Owner, RunArtifact, Started
from studio_cas.store.store import open_store

CREATED = Created(
    "exp", 0, "anna", "laptop", 1000.0, ("/bin/python", "train.py"), "/here", 60.0,
    artifacts=(RunArtifact("w", "/w", mutable=True),), python="/bin/python", defaults=("output",),
)  # fmt: skip
STARTED = Started(1001.0, "laptop", 7, "linux", "/bin/python", "3.11.2")


@pytest.fixture
def store(request, tmp_path):
    where = tmp_path / "store" if create_only(request.config) else MemoryBackend()
    with open_store(where, home=tmp_path / "home") as store:
        yield store


@pytest.fixture
def record(store):
    """Write the records of one attempt, and return what was created."""

    def record(experiment="exp", *, started=None, ended=None, **changes):
        asked = dataclasses.replace(CREATED, experiment=experiment, **changes)
        records.claim(store.backend, Owner(experiment, asked.user, asked.host, asked.time), join=True)
        created = records.create_attempt(store.backend, asked)
        if started is not None:
            host = started if isinstance(started, str) else created.host
            records.write_started(store.backend, created, dataclasses.replace(STARTED, host=host, time=created.time))
        if ended is not None:
            end = (
                ended if isinstance(ended, Ended) else Ended(created.time + 10, ended, 0 if ended == "finished" else 1)
            )
            records.write_ended(store.backend, created, end)
        return created

    return record
