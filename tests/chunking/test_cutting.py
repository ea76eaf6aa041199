"""Chunks of a file do not depend on the pieces in which it is read, and equal pieces keep where a tensor grows."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.chunking.cutting import chunk_lengths, equal_pieces
from studio_cas.chunking.parameters import ChunkingParameters
from studio_cas.chunking.profile import Cutting, Profile

PARAMETERS = ChunkingParameters(minimum=1024, average=4096, maximum=16_384, fixed=1024, tensor=8192)
NOISE = random.Random(5).randbytes(300_000)


def read_in_pieces(data, cutting, sizes):
    """The lengths found when the file comes in pieces of `sizes`, as a reader hands them on: with the rest before."""
    lengths, start, end = [], 0, 0
    while end < len(data):
        end = min(len(data), end + max(1, next(sizes)))
        found = chunk_lengths(memoryview(data)[start:end], start, cutting, PARAMETERS)
        lengths += found
        start += sum(found)
    assert start == len(data)
    return lengths


@settings(deadline=None)
@given(
    st.sampled_from(Profile),
    st.integers(1, len(NOISE)),
    st.lists(st.tuples(st.integers(1, len(NOISE)), st.booleans()), max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from([100, 3000, 20_000, 100_000]),
)
def test_chunks_do_not_depend_on_the_pieces_in_which_a_file_is_read(profile, size, ends, rng, longest):
    tensors = profile is Profile.TENSOR
    regions = sorted({size, *(end for end, _ in ends if tensors and end < size)})
    equal = frozenset(end for end, flag in ends if tensors and flag and end <= size) & {*regions}
    cutting = Cutting(profile, tuple(regions), equal)
    data = NOISE[:size]
    whole = chunk_lengths(memoryview(data), 0, cutting, PARAMETERS)
    assert sum(whole) == size
    assert max(whole) <= PARAMETERS.maximum
    assert read_in_pieces(data, cutting, iter(lambda: rng.randint(1, longest), None)) == whole


@pytest.mark.parametrize(
    ("left", "available", "pieces"),
    [
        (10, 10, [10]),
        (100, 100, [100]),
        (109, 109, [109]),
        (110, 110, [100, 10]),
        (209, 209, [100, 109]),
        (209, 208, [100]),
        (209, 199, [100]),
        (210, 205, [100, 100]),
        (300, 200, [100, 100]),
        (300, 199, [100]),
        (309, 305, [100, 100]),
        (109, 105, []),
        (50, 20, []),
    ],
)
def test_the_end_of_a_tensor_belongs_to_the_piece_before_where_it_is_short(left, available, pieces):
    assert equal_pieces(left, available, 100, 10) == pieces


def test_a_tensor_that_grows_keeps_its_pieces_and_leaves_those_of_the_next_one():
    other = os.urandom(50_000)

    def pieces(tensor):
        data = tensor + other
        cutting = Cutting(Profile.TENSOR, (len(tensor), len(data)), frozenset({len(tensor), len(data)}))
        lengths = chunk_lengths(memoryview(data), 0, cutting, PARAMETERS)
        offsets = [sum(lengths[:index]) for index in range(len(lengths))]
        return {data[at : at + length] for at, length in zip(offsets, lengths, strict=True)}

    before, after = pieces(NOISE[:100_000]), pieces(NOISE[:101_000])
    assert len(before - after) <= 1
    assert PARAMETERS.tensor in map(len, before)
