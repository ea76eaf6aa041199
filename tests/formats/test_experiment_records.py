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
ARTIFACTS = st.builds(records.RunArtifact, TEXTS, TEXTS, st.booleans(), st.none() | REUSES)
GITS = st.builds(records.Git, TEXTS, TEXTS, st.booleans(), TEXTS, TEXTS, st.booleans())
CREATED = st.builds(
    records.Created, TEXTS, st.integers(1, 9999), TEXTS, TEXTS, TIMES, st.lists(TEXTS).map(tuple), TEXTS,
    st.floats(1, 1e6), st.lists(ARTIFACTS, max_size=3).map(tuple),
)  # fmt: skip
STARTED = st.builds(
    records.Started, TIMES, TEXTS, st.integers(1, 2**22), TEXTS, TEXTS, TEXTS,
    st.dictionaries(st.text(), st.text(), max_size=3), st.none() | GITS,
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


@given(st.builds(records.Heartbeat, st.integers(1), TIMES))
def test_a_heartbeat_survives(record):
    assert near(records.decode_heartbeat(records.encode(record)), record)


@given(st.builds(records.Ended, TIMES, TEXTS, st.none() | st.integers(0, 255), st.lists(TEXTS).map(tuple)))
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
    for decode in (records.decode_owner, records.decode_created, records.decode_started, records.decode_ended):
        with pytest.raises(CorruptError):
            decode(data)


def test_keys():
    assert records.owner_key("e") == "experiments/e/owner"
    assert records.attempt_key("e", 3, "created") == "experiments/e/attempts/0003/created"
    assert records.heartbeat_key("e", 3, 12) == "experiments/e/attempts/0003/heartbeats/9999999987"
