"""The records of an experiment, as bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio_cas.errors import CorruptError
from studio_cas.formats import experiment as records

TIMES = st.integers(0, 4 * 10**15).map(lambda microseconds: microseconds / 10**6)
TEXTS = st.text() | st.just("odd \udcff bytes")
REUSES = st.builds(records.Reuse, TEXTS, TEXTS, st.integers(1, 10**9), TEXTS)
ARTIFACTS = st.builds(records.RunArtifact, TEXTS, TEXTS, st.booleans(), st.none() | REUSES, st.booleans())
AMOUNTS = st.integers(0, 2**50)
SECONDS = st.floats(0, 1e9)
RESOURCES = st.builds(records.Resources, SECONDS, AMOUNTS, st.lists(st.builds(records.Gpu, TEXTS, AMOUNTS)).map(tuple))
USAGES = st.builds(records.Usage, SECONDS, SECONDS, AMOUNTS)
VERSIONS = st.dictionaries(st.text(), st.tuples(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1)), max_size=3)
GITS = st.builds(records.Git, TEXTS, TEXTS, st.booleans(), TEXTS, TEXTS, st.booleans())
CREATED = st.builds(
    records.Created, TEXTS, st.integers(1, 9999), TEXTS, TEXTS, TIMES, st.lists(TEXTS).map(tuple), TEXTS,
    st.floats(1, 1e6), st.lists(ARTIFACTS, max_size=3).map(tuple), TEXTS, st.lists(TEXTS, max_size=3).map(tuple),
    st.booleans(), TEXTS,
)  # fmt: skip
STARTED = st.builds(
    records.Started, TIMES, TEXTS, st.integers(1, 2**22), TEXTS, TEXTS, TEXTS,
    st.dictionaries(st.text(), st.text(), max_size=3), st.none() | GITS, st.integers(0, 2**22),
    st.none() | RESOURCES,
)  # fmt: skip


def near(one, other):
    assert abs(one.time - other.time) < 1e-5
    return one == type(one)(
        **{**{name: getattr(other, name) for name in type(one).__dataclass_fields__}, "time": one.time}
    )


@given(st.builds(records.Owner, TEXTS, TEXTS, TEXTS, TIMES))
def test_an_owner_survives(record):
    assert near(records.decode_owner(records.encode(record)), record)


@given(CREATED)
def test_what_was_asked_for_survives(record):
    assert near(records.decode_created(records.encode(record)), record)


@given(STARTED)
def test_the_environment_survives(record):
    assert near(records.decode_started(records.encode(record)), record)


@given(st.builds(records.Heartbeat, st.integers(1, 2**63 - 1), TIMES))
def test_a_heartbeat_survives(record):
    assert near(records.decode_heartbeat(records.encode(record)), record)


@given(st.builds(records.Stop, TIMES, TEXTS, TEXTS))
def test_a_word_to_stop_survives(record):
    assert near(records.decode_stop(records.encode(record)), record)


@given(
    st.builds(
        records.Ended, TIMES, TEXTS, st.none() | st.integers(0, 255), st.lists(TEXTS).map(tuple),
        st.none() | USAGES, VERSIONS,
    )
)  # fmt: skip
def test_an_end_survives(record):
    assert near(records.decode_ended(records.encode(record)), record)


def test_a_record_is_json_that_a_person_can_read():
    owner = records.Owner("exp", "anna", "host", 0.0)
    assert json.loads(records.encode(owner)) == {
        "format": 1, "kind": "owner", "experiment": "exp", "user": "anna", "host": "host",
        "time": "1970-01-01T00:00:00.000000+00:00",
    }  # fmt: skip


def test_what_a_newer_program_added_is_passed_over():
    row = json.loads(records.encode(records.Owner("exp", "anna", "host", 0.0)))
    assert records.decode_owner(json.dumps({**row, "mood": "good"}).encode()).user == "anna"


def test_records_of_an_older_program_have_less_and_are_read():
    created = json.loads(records.encode(records.Created("e", 1, "anna", "host", 0.0, ("x",), "/", 60.0)))
    for name in ("python", "defaults", "workspace_all", "repeats"):
        del created[name]
    created["artifacts"] = [{"tag": "w", "path": "/w", "mutable": True, "reuse": None}]
    assert records.decode_created(json.dumps(created).encode()).artifacts == (records.RunArtifact("w", "/w", True),)
    ended = json.loads(records.encode(records.Ended(0.0, "finished", 0)))
    for name in ("usage", "versions"):
        del ended[name]
    assert records.decode_ended(json.dumps(ended).encode()) == records.Ended(0.0, "finished", 0)


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"kind": "ended"}, {"time": "yesterday"}, {"time": None}, {"user": ...}],
)
def test_a_record_that_makes_no_sense_is_corrupt(change):
    row = json.loads(records.encode(records.Owner("exp", "anna", "host", 0.0)))
    row = {key: value for key, value in {**row, **change}.items() if value is not ...}
    with pytest.raises(CorruptError):
        records.decode_owner(json.dumps(row).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"\xff", b'{"format": 1}'])
def test_bytes_that_are_no_record_are_corrupt(data):
    for decode in (records.decode_owner, records.decode_created, records.decode_started, records.decode_stop,
                   records.decode_ended):  # fmt: skip
        with pytest.raises(CorruptError):
            decode(data)


def test_keys():
    assert records.owner_key("e") == "experiments/e/owner"
    assert records.attempt_key("e", 3, "created") == "experiments/e/attempts/0003/created"
    assert records.heartbeat_key("e", 3, 12) == "experiments/e/attempts/0003/heartbeats/9999999987"
