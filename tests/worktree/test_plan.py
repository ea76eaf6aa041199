"""Which ranges of which packs are read: each frame once, neighbours together, nothing beyond the limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.errors import RefusedError
from studio_cas.formats.leaf import Place
from studio_cas.formats.pack import FRAME_LIMIT, HARD_CAP, HEADER_SIZE
from studio_cas.ids import PackId, digest
from studio_cas.worktree.plan import UNUSED_SHARE, Wanted, ranges

PACKS = [PackId(bytes([number]) * 16) for number in range(3)]


@st.composite
def wanted_chunks(draw):
    """Chunks of packs whose frames lie one behind another, wanted in any order, and some twice."""
    made = []
    for pack in draw(st.lists(st.sampled_from(PACKS), min_size=1, max_size=3, unique=True)):
        at = HEADER_SIZE
        for stored, lengths, gap in draw(
            st.lists(
                st.tuples(
                    st.integers(1, 300), st.lists(st.integers(1, 90), min_size=1, max_size=3), st.integers(0, 200)
                ),
                min_size=1,
                max_size=6,
            )
        ):
            inner = 0
            for length in lengths:
                place = Place(pack, at, stored, sum(lengths), inner, 0)
                made.append((place, length))
                inner += length
            at += stored + gap
    order = draw(st.lists(st.sampled_from(range(len(made))), min_size=1, max_size=20))
    return [
        (made[index][0], Wanted(digest(bytes([index])), made[index][0].inner, made[index][1], number))
        for number, index in enumerate(order)
    ]


@settings(max_examples=200, deadline=None)
@given(wanted_chunks(), st.integers(1, 900), st.integers(0, 150))
def test_every_chunk_is_in_one_range_and_every_frame_is_read_once(chunks, limit, slack):
    reads = ranges(chunks, limit, slack)
    found = {}
    frames = set()
    for read in reads:
        assert read.frames == sorted(read.frames, key=lambda frame: frame.offset)
        assert read.end - read.offset <= limit or len(read.frames) == 1
        assert (read.offset, read.end) == (read.frames[0].offset, max(f.offset + f.stored for f in read.frames))
        for frame in read.frames:
            assert (read.pack, frame.offset) not in frames
            frames.add((read.pack, frame.offset))
            for wanted in frame.wanted:
                found[wanted.target] = (read.pack, frame.offset, wanted)
    assert found == {wanted.target: (place.pack, place.offset, wanted) for place, wanted in chunks}
    assert list(dict.fromkeys(read.pack for read in reads)) == list(dict.fromkeys(place.pack for place, _ in chunks))


@settings(max_examples=200, deadline=None)
@given(wanted_chunks(), st.integers(0, 300))
def test_the_shortest_gaps_are_read_over_and_little_is_read_for_nothing(chunks, slack):
    reads = ranges(chunks, slack=slack)
    bridged = [
        later.offset - earlier.offset - earlier.stored for read in reads for earlier, later in pairwise(read.frames)
    ]
    wanted = sum(frame.stored for read in reads for frame in read.frames)
    assert sum(bridged) <= max(slack, wanted // UNUSED_SHARE)
    left = [other.offset - one.end for one, other in pairwise(reads) if one.pack == other.pack]
    if left:
        assert min(left) >= max(bridged, default=0)
        assert sum(bridged) + min(left) > max(slack, wanted // UNUSED_SHARE)


GOOD = Place(PACKS[0], HEADER_SIZE, 10, 20, 0, 0)


@pytest.mark.parametrize(
    "place",
    [
        GOOD._replace(plain=FRAME_LIMIT + 1),
        GOOD._replace(stored=FRAME_LIMIT + 1),
        GOOD._replace(offset=HEADER_SIZE - 1),
        GOOD._replace(offset=HARD_CAP + 1),
        GOOD._replace(inner=16),
    ],
)
def test_a_place_beyond_any_limit_is_refused_with_its_pack(place):
    with pytest.raises(RefusedError, match=PACKS[0].hex()):
        ranges([(place, Wanted(b"id", place.inner, 5, None))])


def test_places_that_contradict_each_other_are_refused():
    with pytest.raises(RefusedError, match="outside its frame"):
        ranges([(GOOD, Wanted(b"a", 0, 5, None)), (GOOD._replace(stored=11), Wanted(b"b", 5, 5, None))])


def test_nothing_wanted_is_nothing_read():
    assert ranges([]) == []
