"""The compiled loops and numpy make the same payloads of the same bytes, and the same bytes of a payload."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas import native
from studio_cas.codec import planes_native, planes_numpy

pytestmark = pytest.mark.skipif(native.library() is None, reason="the compiled loops are not in use")
SIZES = {
    2: [(1, 1), (2,)],
    4: [(1, 1, 1, 1), (2, 1, 1), (1, 1, 2), (2, 2), (4,), (1, 2, 1)],
    8: [(1,) * 8, (4, 2, 1, 1), (2, 2, 2, 2), (4, 4), (8,), (1, 4, 2, 1)],
}


@st.composite
def layouts(draw):
    width = draw(st.sampled_from([2, 4, 8]))
    sizes = draw(st.sampled_from(SIZES[width]))
    return width, draw(st.integers(0, width - 1)), tuple((size, draw(st.booleans())) for size in sizes)


def plain_bytes(seed, size):
    """Half of the time random, else numbers that compress; never the same for two seeds."""
    if seed % 2:
        return random.Random(seed).randbytes(size)
    return np.random.default_rng(seed).normal(0, 0.02, size // 4 + 1).astype("<f4").tobytes()[:size]


def joined(payloads):
    return [None if parts is None else b"".join(parts) for parts in payloads]


lengths_of_chunks = st.lists(st.integers(0, 9) | st.integers(0, 9000), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(layouts(), lengths_of_chunks, st.integers(0, 7), st.integers(0, 99), st.sampled_from([None, 0.97]))
def test_the_payloads_are_equal(layout, lengths, lead, seed, limit):
    width, phase, groups = layout
    plain = plain_bytes(seed, sum(lengths))
    expected = joined(planes_numpy.encode_run(memoryview(plain), lengths, width, phase, groups, limit))
    assert joined(
        planes_native.encode_run(native.library(), memoryview(plain), lengths, width, phase, groups, limit)
    ) == (expected)
    room = memoryview(bytearray(lead) + bytearray(plain) + bytearray(b"after"))
    data = room[lead : lead + len(plain)]
    made = planes_native.encode_run(native.library(), data, lengths, width, phase, groups, limit)
    assert joined(made) == expected
    assert (bytes(room[:lead]), bytes(room[lead + len(plain) :])) == (bytes(lead), b"after")
    at = 0
    for parts, length in zip(made, lengths, strict=True):
        if parts is None:
            assert data[at : at + length] == plain[at : at + length]
        at += length


@settings(max_examples=200, deadline=None)
@given(layouts(), st.integers(0, 3) | st.integers(1000, 3000), st.integers(0, 7), st.integers(0, 99))
def test_the_numbers_are_equal(layout, count, lead, seed):
    width, _, groups = layout
    sizes = [size for size, _ in groups]
    planes = [plain_bytes(seed + 2 * index, count * size) for index, size in enumerate(sizes)]
    found = []
    for merge in (planes_numpy.merge, lambda *args: planes_native.merge(native.library(), *args)):
        room = memoryview(bytearray(lead + count * width + 5))
        merge(planes, sizes, room[lead : lead + count * width], width)
        found.append(bytes(room))
    assert found[0] == found[1]
    assert found[0][:lead] + found[0][lead + count * width :] == bytes(lead + 5)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([2, 4, 8]), st.integers(1, 3000), st.integers(0, 99))
def test_the_entropies_agree(width, count, seed):
    sample = memoryview(plain_bytes(seed, count * width))
    assert planes_native.entropies(native.library(), sample, width) == pytest.approx(
        planes_numpy.entropies(sample, width), abs=1e-9
    )
