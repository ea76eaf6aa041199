"""Cut points of known bytes: a library, a table or a rule that moves one of them ends all dedup, and fails here.

`told_cuts` is the algorithm as docs/format.md tells it, from that text and table alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from functools import cache
from pathlib import Path

import pytest
from tests.golden import expect_json, noise

from studio_cas.chunking import gear
from studio_cas.chunking.cdc import cutter, exact_cutter
from studio_cas.chunking.cutting import chunk_lengths
from studio_cas.chunking.parameters import DEFAULT, ChunkingParameters
from studio_cas.chunking.profile import Profile, choose

GOLDEN = Path(__file__).parent / "golden"
FORMAT = Path(__file__).resolve().parents[2] / "docs" / "format.md"
SMALL = ChunkingParameters(minimum=256, average=1024, maximum=4096, fixed=512, tensor=2048)
WORDS = b"epoch loss accuracy learning rate gradient norm\n".split(b" ")


def text(seed: str, size: int) -> bytes:
    return b" ".join(WORDS[byte % len(WORDS)] for byte in noise(seed, size // 4))[:size]


INPUTS = {
    "nothing": b"",
    "one byte": b"1",
    "noise": noise("noise", 1_500_001),
    "text": text("text", 1_000_000),
    "zeros": bytes(2_100_000),
    "a period of 1000": noise("period", 1000) * 1200,
    "noise between zeros": bytes(1_100_000) + noise("between", 300_000) + bytes(100_001),
    "the minimum": noise("minimum", 65_536),
    "the minimum and a byte": noise("minimum", 65_537),
}
PARAMETERS = {"default": DEFAULT, "log": DEFAULT.finer(), "small": SMALL}


@cache
def told_masks() -> dict[int, int]:
    """The table of docs/format.md."""
    found = re.findall(r"\| (\d+) \| (0x[0-9A-F]{16})(?= )", FORMAT.read_text())
    return {int(number): int(mask, 16) for number, mask in found}


def told_cuts(data: bytes, parameters: ChunkingParameters) -> list[int]:
    """Lengths of the chunks of a region, byte by byte."""
    table = [int.from_bytes(hashlib.md5(bytes([byte]) * 64).digest()[:8], "big") for byte in range(256)]
    level = (parameters.average - 1).bit_length()
    strict, lax = told_masks()[level + 2], told_masks()[level - 2]
    lengths = []
    begin = 0
    while begin < len(data):
        left = len(data) - begin
        end = length = min(left, parameters.maximum)
        if left > parameters.minimum:
            start, end, centre = (size & ~1 for size in (parameters.minimum, end, min(parameters.average, end)))
            rolled = 0
            for position in range(start, end):
                rolled = 2 * rolled + table[data[begin + position]] & 0xFFFFFFFFFFFFFFFF
                if not rolled & (strict if position < centre else lax):
                    length = position
                    break
        lengths.append(length)
        begin += length
    return lengths


@pytest.mark.parametrize("name", sorted(INPUTS))
@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_cut_points_are_where_they_always_were(name, kind):
    data = memoryview(INPUTS[name])
    lengths = cutter(PARAMETERS[kind])(data)
    expect_json(GOLDEN / f"{name}, {kind}.json", lengths)
    assert lengths == exact_cutter(PARAMETERS[kind])(data)


@pytest.mark.parametrize("name", ["noise", "text", "noise between zeros", "the minimum and a byte"])
@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_a_stranger_who_reads_the_documentation_cuts_there_too(name, kind):
    expect_json(GOLDEN / f"{name}, {kind}.json", told_cuts(INPUTS[name], PARAMETERS[kind]))


def test_the_tables_are_those_of_the_documentation():
    assert told_masks() == gear.MASKS
    assert f"{gear.gear_table()[0]:016x} {gear.gear_table()[255]:016x}" == "3b5d3c7d207e37dc aabd2b2a451504e1"


def safetensors(spans: list[int]) -> bytes:
    offsets, at = {}, 0
    for number, size in enumerate(spans):
        offsets[str(number)] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    header = json.dumps({"__metadata__": {}, **offsets}).encode()
    return struct.pack("<Q", len(header)) + header + noise("tensors", at)


def archive(sizes: list[int], method: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as opened:
        for number, size in enumerate(sizes):
            opened.writestr(zipfile.ZipInfo(f"data/{number}"), noise(str(number), size), method)
    return made.getvalue()


SIZES = [70_000, 10, 65_536, 65_535, 200_000]
TENSORS = safetensors(SIZES)
STORED, DEFLATED = archive(SIZES, zipfile.ZIP_STORED), archive(SIZES, zipfile.ZIP_DEFLATED)
SQLITE = b"SQLite format 3\0" + bytes(100_000)
PLAIN = noise("plain", 100_000)
FILES = {
    "model.safetensors": TENSORS,
    "MODEL.SAFETENSORS": TENSORS,
    "tensors.bin": TENSORS,
    "cut short.safetensors": TENSORS[:-1],
    "model.pt": STORED,
    "weights.NPZ": STORED,
    "deflated.npz": DEFLATED,
    "stored.zip": STORED,
    "cut short.pt": STORED[:-30],
    "runs.db": SQLITE,
    "runs.safetensors": SQLITE,
    "lock.MDB": PLAIN,
    "data.lmdb": PLAIN,
    "train.log": PLAIN,
    "TRAIN.LOG": PLAIN,
    "metrics.jsonl": PLAIN,
    "rows.ndjson": PLAIN,
    "slurm.out": PLAIN,
    "slurm.err": PLAIN,
    "events.out.tfevents.1700000000.host": PLAIN,
    "output": PLAIN,
    "outputs": PLAIN,
    "small.log": PLAIN[:65_536],
    "larger.log": PLAIN[:65_537],
    "plain": PLAIN,
}


def test_profiles_and_regions_are_what_they_always_were():
    found = {}
    for name, data in FILES.items():
        cutting = choose(name.encode(), len(data), lambda at, length, data=data: data[at : at + length], 65_536)
        assert cutting.regions[-1] == len(data)
        found[name] = [cutting.profile.name, list(cutting.regions[:-1])]
    expect_json(GOLDEN / "profiles.json", found)
    assert {profile for profile, _ in found.values()} == {profile.name for profile in Profile}


def test_tensors_are_cut_where_they_always_were():
    found = {}
    for name, data in FILES.items():
        cutting = choose(name.encode(), len(data), lambda at, length, data=data: data[at : at + length], SMALL.minimum)
        if cutting.profile is Profile.TENSOR:
            found[name] = chunk_lengths(memoryview(data), 0, cutting, SMALL)
    assert len(found) >= 3
    expect_json(GOLDEN / "tensors.json", found)
