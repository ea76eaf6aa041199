"""Frames: what goes in comes out, the choice of a codec, and frames that are damaged or lie."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.codec import frames, payload, planes, zstd
from studio_cas.codec.choose import RAW, ZSTD, Choice, Codec, choose
from studio_cas.errors import CorruptError

GROUPS = {
    2: [(1, 1), (2,)],
    4: [(1, 1, 1, 1), (2, 1, 1), (1, 1, 2), (2, 2), (4,)],
    8: [(1,) * 8, (4, 2, 1, 1), (2, 2, 2, 2), (4, 4), (8,)],
}


@st.composite
def choices(draw):
    width = draw(st.sampled_from([2, 4, 8]))
    sizes = draw(st.sampled_from(GROUPS[width]))
    groups = tuple((size, draw(st.booleans())) for size in sizes)
    return Choice(Codec.PLANES, width, draw(st.integers(0, width - 1)), groups)


def weights(dtype, count):
    found = np.random.default_rng(1).normal(0, 0.02, count)
    if dtype == "bf16":
        return (found.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return found.astype(dtype).tobytes()


def plain(codec, parts, size):
    return bytes(frames.decode(codec, memoryview(b"".join(parts)), size))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([RAW, ZSTD]) | choices(), st.integers(0, 2**40))
def test_a_frame_survives(data, choice, offset):
    codec, parts = frames.encode(memoryview(data), choice, offset)
    assert plain(codec, parts, len(data)) == data


@settings(max_examples=150, deadline=None)
@given(choices(), st.integers(0, 2**40), st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(0, 9))
def test_the_chunks_of_a_run_survive(choice, offset, lengths, seed):
    data = memoryview((weights("<f4", 400) + random.Random(seed).randbytes(200))[: sum(lengths)])
    at = 0
    for (codec, parts), length in zip(frames.encode_run(data, lengths, choice, offset), lengths, strict=True):
        assert plain(codec, parts, length) == data[at : at + length]
        at += length


@settings(max_examples=150, deadline=None)
@given(choices(), st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_planes_survive_whatever_they_save(choice, lengths):
    data = memoryview(bytes(range(256))[: sum(lengths)])
    payloads = planes.encode_run(data, lengths, choice.width, choice.phase, choice.groups)
    at = 0
    for parts, length in zip(payloads, lengths, strict=True):
        assert planes.decode(memoryview(b"".join(parts)), length) == data[at : at + length]
        at += length


@pytest.mark.parametrize(("dtype", "width"), [("<f4", 4), ("<f8", 8), ("bf16", 2)])
@pytest.mark.parametrize("lead", [0, 1, 3])
def test_planes_are_chosen_for_weights_and_save(dtype, width, lead):
    data = bytes(range(200, 200 + lead)) + weights(dtype, 20_000)
    found = choose(data, 0)
    assert (found.codec, found.width) == (Codec.PLANES, width)
    codec, parts = frames.encode(memoryview(data), found, 0)
    assert codec is Codec.PLANES
    assert sum(map(len, parts)) < 0.96 * len(data)
    assert plain(codec, parts, len(data)) == data


def test_the_phase_counts_from_the_beginning_of_the_file():
    data = weights("bf16", 8000)
    first = choose(data, 0)
    assert choose(data, 7) == Choice(Codec.PLANES, 2, (first.phase + 7) % 2, first.groups)


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_numbers_are_taken_to_lie_at_multiples_of_their_width(offset):
    assert choose(weights("<f4", 5000)[offset:], offset).phase == 0


@settings(max_examples=150, deadline=None)
@given(choices(), st.lists(st.integers(0, 4000), min_size=1, max_size=5), st.integers(0, 3), st.booleans())
def test_planes_may_use_the_room_of_their_chunks_and_leave_the_others(choice, lengths, lead, squeezable):
    plain = (b"\x3f\x80\x01\x07" * 5000 if squeezable else random.Random(2).randbytes(20_000))[: sum(lengths)]
    room = memoryview(bytearray(lead) + bytearray(plain) + bytearray(b"after"))
    data = room[lead : lead + len(plain)]
    made = frames.encode_run(data, lengths, choice, 0)
    at = 0
    for (codec, parts), length in zip(made, lengths, strict=True):
        stored = memoryview(b"".join(parts))
        assert frames.decode(codec, stored, length) == plain[at : at + length]
        at += length
    assert bytes(room[lead + len(plain) :]) == b"after"
    assert bytes(room[:lead]) == bytes(lead)


TEXT = b"2026-11-22 INFO loss=0.25 step=17\n" * 500
NOISE = random.Random(1).randbytes(20_000)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (TEXT, ZSTD),
        ("größer\n".encode() * 900, ZSTD),
        (bytes(20_000), ZSTD),
        (b"", ZSTD),
        (b"\0\1", ZSTD),
        (NOISE, RAW),
    ],
    ids=["text", "utf-8", "zeros", "empty", "short", "noise"],
)
def test_what_is_no_weights_is_not_cut_into_planes(data, expected):
    assert choose(data, 0) == expected


# Damage


def outcome(codec, payload, size):
    """The plain bytes, or None where the frame was called corrupt; anything else is raised."""
    try:
        found = bytes(frames.decode(codec, memoryview(payload), size))
    except CorruptError:
        return None
    assert len(found) == size
    return found


def stored(kind):
    data = weights("<f4", 600) if kind is Codec.PLANES else b"the same line again\n" * 100
    choice = Choice(kind, 4, 0, ((2, False), (1, False), (1, True)))
    codec, parts = frames.encode(memoryview(data), choice, 0)
    assert codec is kind
    return data, b"".join(parts)


@pytest.mark.parametrize("kind", list(Codec))
@settings(max_examples=150, deadline=None)
@given(bit=st.integers(0, 10**6), cut=st.integers(0, 10**6), size=st.integers(0, 5000), more=st.binary(max_size=5))
def test_a_damaged_frame_is_corrupt_or_bytes_of_the_same_size(kind, bit, cut, size, more):
    data, payload = stored(kind)
    flipped = bytearray(payload)
    flipped[bit // 8 % len(payload)] ^= 1 << bit % 8
    outcome(kind, flipped, len(data))
    assert outcome(kind, payload[: cut % len(payload)], len(data)) is None
    outcome(kind, payload, size)
    outcome(kind, payload + more, len(data))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0, 1, 2, 3, 4, 8, 255]),
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4, 8]), st.integers(0, 3), st.integers(0, 2**32 - 1)), max_size=9),
    st.binary(max_size=60),
    st.integers(0, 60),
)
def test_the_header_of_planes_may_say_anything(width, phase, groups, rest, size):
    header = struct.pack("<BBB", width, phase, len(groups)) + b"".join(struct.pack("<BBI", *group) for group in groups)
    outcome(Codec.PLANES, header + rest, size)
    outcome(phase, header + rest, size)


def test_a_frame_that_would_grow_beyond_what_is_told_is_corrupt():
    bomb = zstd.compress(bytes(64 << 20))
    assert outcome(Codec.ZSTD, bomb, 1000) is None
    header = struct.pack("<BBB", 4, 0, 1) + struct.pack("<BBI", 4, payload.ZSTD, len(bomb))
    assert outcome(Codec.PLANES, header + bomb, 1000) is None


def test_an_unknown_codec_asks_for_a_newer_program():
    with pytest.raises(CorruptError, match="upgrade"):
        frames.decode(9, memoryview(b"1234"), 4)
