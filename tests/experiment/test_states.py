"""Which versions an attempt left."""

from __future__ import annotations

import pytest

from studio_cas.backends.base import ObjectStat
from studio_cas.experiment.records import read_attempt
from studio_cas.experiment.states import captured_tags, last_state, states
from studio_cas.formats import keys
from studio_cas.formats.experiment import Ended, Reuse, RunArtifact


@pytest.fixture
def dated(store, monkeypatch):
    """Version records of exp/w, created at those times."""

    def dated(*times):
        found = [ObjectStat(keys.version("exp", "w", n), 1, at) for n, at in enumerate(times, 1)]

        def listed(prefix, limit=None):
            return iter([one for one in reversed(found) if one.key.startswith(prefix)][:limit])

        monkeypatch.setattr(store.backend, "list", listed)

    return dated


def attempt_of(store, created):
    return read_attempt(store.backend, "exp", created.attempt, 1e9)


def test_the_end_of_a_run_records_them(store, record, dated):
    attempt = attempt_of(store, record(started=True, ended=Ended(1010.0, "finished", 0, versions={"w": (3, 7)})))
    dated(*range(20))
    assert states(store, attempt) == {"w": (3, 7)}
    assert last_state(store, "w", attempt) == 7
    assert last_state(store, "other", attempt) is None


@pytest.mark.parametrize(
    ("times", "following", "span"),
    [
        ((), None, None),
        ((900.0,), None, (1, 1)),  # nothing changed since an earlier attempt
        ((900.0, 1005.0, 1070.0), None, (2, 3)),  # a first capture soon after the start
        ((900.0, 1070.0, 1130.0), None, (1, 3)),  # it began with what was there, which changed later
        ((1070.0, 1130.0), None, (1, 2)),
        ((900.0, 1005.0, 1070.0, 2010.0), 2000.0, (2, 3)),  # the last one is the next attempt's
        ((2010.0,), 2000.0, None),
    ],
)
def test_of_a_run_without_an_end_they_follow_from_the_times(store, record, dated, times, following, span):
    attempt = attempt_of(store, record(started=True))
    dated(*times)
    assert states(store, attempt, following).get("w") == span
    assert last_state(store, "w", attempt, following) == (span[1] if span else None)


def test_what_is_captured(record):
    reuse = Reuse("other", "v", 1, "00")
    asked = (RunArtifact("w", "/w", mutable=True), RunArtifact("r", "/r", mutable=False, reuse=reuse))
    assert captured_tags(record(artifacts=asked)) == ["w", "output"]
    assert captured_tags(record(artifacts=asked, defaults=())) == ["w"]
    assert captured_tags(record(artifacts=(RunArtifact("output", "/o", mutable=True),))) == ["output"]
