"""Finding runs in a store."""

from __future__ import annotations

import time

import pytest

from studio_cas.errors import NotFoundError, UsageError
from studio_cas.experiment.lifecycle import PATIENCE, Status
from studio_cas.experiment.runs import RunName, Wanted, find_run, list_runs, next_created, parse_run
from studio_cas.formats.experiment import attempt_key


@pytest.fixture
def names(store):
    """The names of the runs that match, as they are listed."""

    def names(now=1e9, told=None, **wanted):
        tell = told.append if told is not None else pytest.fail
        found = list_runs(store.backend, Wanted(**wanted), now, tell)
        return [f"{one.created.experiment}@{one.created.attempt}" for one in found]

    return names


@pytest.mark.parametrize(
    ("text", "name"), [("exp", RunName("exp")), ("exp@2", RunName("exp", 2)), ("exp@-1", RunName("exp", -1))]
)
def test_a_name_is_an_experiment_or_an_attempt_of_it(text, name):
    assert parse_run(text) == name


@pytest.mark.parametrize("text", ["", "exp@", "exp@0", "exp@x", "exp/w", "exp@2/w", "a@b@1"])
def test_anything_else_is_no_name(text):
    with pytest.raises(UsageError):
        parse_run(text)


def test_the_latest_attempt_an_earlier_one_and_the_one_before(store, record):
    for _ in range(3):
        record()
    found = [find_run(store.backend, text, 0.0).created.attempt for text in ("exp", "exp@1", "exp@-1", "exp@-2")]
    assert found == [3, 1, 2, 1]
    with pytest.raises(NotFoundError, match="no attempt 4: there are 1, 2, 3"):
        find_run(store.backend, "exp@4", 0.0)
    with pytest.raises(NotFoundError, match="no attempt -3"):
        find_run(store.backend, "exp@-3", 0.0)


def test_an_unknown_experiment_is_an_error_that_names_a_similar_one(store, record):
    record("linear_regression")
    with pytest.raises(NotFoundError, match="did you mean 'linear_regression'"):
        find_run(store.backend, "linear-regresion", 0.0)
    store.backend.create("experiments/pushed/owner", [b"{}"])
    with pytest.raises(NotFoundError, match="was never run"):
        find_run(store.backend, "pushed", 0.0)


def test_runs_are_listed_the_newest_first(record, names):
    record("b", time=2000.0)
    record("a", time=3000.0)
    record("b", time=4000.0)
    assert names() == ["b@2", "a@1", "b@1"]


def test_runs_are_filtered(record, names):
    record("lr_1", user="anna", started="gpu-1", ended="finished", time=1000.0)
    record("lr_2", user="ben", started="gpu-2", ended="failed", time=2000.0)
    record("other", user="anna", host="gpu-3", time=3000.0)
    assert names(experiment="lr_*") == ["lr_2@1", "lr_1@1"]
    assert names(experiment="lr") == []
    assert names(user="anna") == ["other@1", "lr_1@1"]
    assert names(host="gpu-[23]") == ["other@1", "lr_2@1"]  # one that has not started: where it was asked for
    assert names(since=2000.0) == ["other@1", "lr_2@1"]
    assert names(statuses=frozenset({Status.FAILED, Status.WAITING})) == ["other@1", "lr_2@1"]
    assert names(user="anna", statuses=frozenset({Status.FINISHED})) == ["lr_1@1"]


def test_anybody_finds_what_is_lost(record, names):
    now = time.time()  # heartbeats are dated by the store
    record("gone", started=True, time=now - PATIENCE - 1)
    record("alive", started=True, time=now - PATIENCE + 60)
    assert names(now, statuses=frozenset({Status.LOST})) == ["gone@1"]
    assert names(now, statuses=frozenset({Status.RUNNING})) == ["alive@1"]


def test_a_damaged_record_hides_no_other_run(store, record, names):
    record("a", time=2000.0)
    store.backend.create(attempt_key("b", 1, "created"), [b"{"])
    store.backend.create(attempt_key("c", 1, "ended"), [b"{"])  # what is left of one that is being removed
    told = []
    assert names(told=told) == ["a@1"]
    assert len(told) == 1
    assert "cannot be read" in told[0]


def test_when_the_next_attempt_began(store, record):
    first, second = record(time=1000.0), record(time=2000.0)
    assert next_created(store.backend, first) == 2000.0
    assert next_created(store.backend, second) is None
