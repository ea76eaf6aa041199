"""Frames that were stored once are decoded for ever; planes that stay raw are stored to the byte as they were.

What zstd makes of bytes may differ from one version of it to the next: of its frames only the decoding is fixed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.formats import stranger
from tests.golden import expect, may_make, noise

from studio_cas.codec import frames, planes, zstd
from studio_cas.codec.choose import Codec

GOLDEN = Path(__file__).parent / "golden"


def numbers(width: int, count: int) -> bytes:
    """Floats near one: any sign and fraction, few exponents."""
    exponents = {2: (0x807F, 0x3E80), 4: (0x807FFFFF, 0x3E800000), 8: (0x800FFFFFFFFFFFFF, 0x3FE0000000000000)}
    fraction, exponent = exponents[width]
    raw = noise(f"numbers {width}", width * count)
    letter = {2: "H", 4: "I", 8: "Q"}[width]
    return struct.pack(f"<{count}{letter}", *(n & fraction | exponent for n in struct.unpack(f"<{count}{letter}", raw)))


PLANES = {
    "bf16": (2, 0, ((1, False), (1, True)), numbers(2, 1500)),
    "bf16 at an odd place": (2, 1, ((1, True), (1, True)), b"x" + numbers(2, 1500) + b"y"),
    "fp32": (4, 0, ((2, False), (1, False), (1, True)), numbers(4, 1000)),
    "fp32 at an odd place": (4, 3, ((2, False), (1, False), (1, True)), b"abc" + numbers(4, 1000) + b"d"),
    "fp64": (8, 0, ((4, False), (2, False), (1, False), (1, True)), numbers(8, 500)),
    "fp64 at an odd place": (8, 5, ((4, False), (1, False), (1, True), (2, True)), b"12345" + numbers(8, 500) + b"6"),
    "less than a number": (8, 3, ((4, False), (4, True)), b"1234567"),
}


def raw_only(groups):
    return tuple((size, False) for size, _ in groups)


@pytest.mark.parametrize("name", sorted(PLANES))
def test_byte_planes_are_decoded(name):
    width, phase, groups, plain = PLANES[name]
    path = GOLDEN / f"{name}.planes"
    if may_make(path):
        path.write_bytes(b"".join(planes.encode(memoryview(plain), width, phase, groups)))
    stored = path.read_bytes()
    assert bytes(frames.decode(Codec.PLANES, memoryview(stored), len(plain))) == plain
    assert stranger.unplane(stored, len(plain)) == plain


@pytest.mark.parametrize("name", sorted(PLANES))
def test_raw_byte_planes_are_stored_as_they_were(name):
    width, phase, groups, plain = PLANES[name]
    expect(GOLDEN / f"{name}.raw-planes", b"".join(planes.encode(memoryview(plain), width, phase, raw_only(groups))))


def test_a_zstd_frame_is_decoded():
    plain = b"a line of a log\n" * 300
    path = GOLDEN / "text.zst"
    if may_make(path):
        path.write_bytes(zstd.compress(plain))
    assert bytes(frames.decode(Codec.ZSTD, memoryview(path.read_bytes()), len(plain))) == plain


def test_codecs_have_the_numbers_that_are_in_packs():
    assert {codec.name: codec.value for codec in Codec} == {"RAW": 0, "ZSTD": 1, "PLANES": 2}


def test_sign_exponent_and_fraction_go_where_the_documentation_says():
    stored = b"".join(planes.encode(memoryview(struct.pack("<f", -1.0)), 4, 0, ((2, False), (1, False), (1, False))))
    header = bytes((4, 0, 3)) + b"".join(struct.pack("<BBI", size, 0, size) for size in (2, 1, 1))
    assert stored == header + b"\x01\x00" + b"\x00" + b"\x7f"
