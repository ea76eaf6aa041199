"""Content-defined cuts: the fast cutter against the exact one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.chunking.cdc import cutter, exact_cutter
from studio_cas.chunking.parameters import DEFAULT, ChunkingParameters

SMALL = ChunkingParameters(minimum=256, average=1024, maximum=4096, fixed=256)
ODD = ChunkingParameters(minimum=300, average=2048, maximum=5001, fixed=256)
SEEDS = st.integers(0, 2**32)


def noise(seed, size):
    return random.Random(seed).randbytes(size)


@st.composite
def contents(draw):
    """Noise, runs of one byte and repeated blocks, one after another: all that a cutter meets."""
    pieces = []
    for _ in range(draw(st.integers(0, 4))):
        kind, seed, size = draw(st.sampled_from("nrb")), draw(SEEDS), draw(st.integers(0, 9000))
        if kind == "n":
            pieces.append(noise(seed, size))
        elif kind == "r":
            pieces.append(bytes([seed % 256]) * size)
        else:
            pieces.append((noise(seed, 37) * (size // 37 + 1))[:size])
    return b"".join(pieces)


@pytest.mark.parametrize("parameters", [SMALL, ODD, SMALL.finer()])
@settings(max_examples=60, deadline=None)
@given(data=contents())
def test_the_fast_cutter_cuts_where_the_exact_one_does(parameters, data):
    view = memoryview(data)
    lengths = cutter(parameters)(view)
    assert lengths == exact_cutter(parameters)(view)
    assert sum(lengths) == len(data)
    assert all(parameters.minimum <= length <= parameters.maximum for length in lengths[:-1])
    assert all(0 < length <= parameters.maximum for length in lengths)


def test_they_agree_with_the_parameters_of_stores():
    data = memoryview(noise(7, 3_000_001))
    for parameters in (DEFAULT, DEFAULT.finer()):
        assert cutter(parameters)(data) == exact_cutter(parameters)(data)


def test_bytes_that_are_put_in_front_move_few_cuts():
    data = noise(3, 200_000)
    fast = cutter(SMALL)

    def pieces(content):
        at, found = 0, set()
        for length in fast(memoryview(content)):
            found.add(content[at : at + length])
            at += length
        return found

    before, after = pieces(data), pieces(b"a few bytes more" + data)
    assert len(before - after) <= 3


def test_without_the_fast_cutter_the_exact_one_serves(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyfastcdc", None)
    data = memoryview(noise(5, 50_000))
    assert cutter.__wrapped__(SMALL)(data) == exact_cutter(SMALL)(data)
