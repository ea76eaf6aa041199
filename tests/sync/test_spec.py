"""Specs as JSON."""

from pathlib import Path

import pytest

from studio_cas.config import Storage
from studio_cas.errors import CorruptError
from studio_cas.sync.processes import Process
from studio_cas.sync.spec import DaemonSpec, Pair, decode, encode

SPEC = DaemonSpec(
    pairs=(
        Pair(Path("/w/\udcff"), "exp", "w"),
        Pair(Path("/x"), "exp", "x", (Path("/x/y"),), ("*.tmp", "!a"), optional=True),
    ),
    storage=Storage("gs://bucket/p", Path("/keys/k.json"), "http://e", "project", "region", "account"),
    home=Path("/home/.studioml"),
    user="ann",
    compression=False,
    period=30.0,
    first=5.0,
    max_rate=20 << 20,
    stand_back=False,
    until=(Process(7, 99),),
    run={"attempt": 3},
)


def test_a_spec_is_what_was_written():
    assert decode(encode(SPEC)) == SPEC


def test_a_spec_without_options_is_what_was_written():
    spec = DaemonSpec((), Storage("/store"), Path("/home"), "ann")
    assert decode(encode(spec)) == spec


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": 1}', b'{"format": 2}', encode(SPEC)[:-20]])
def test_what_is_no_spec_is_corrupt(data):
    with pytest.raises(CorruptError):
        decode(data)
