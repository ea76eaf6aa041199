"""Where tensors lie: files written by hand, and files that lie about themselves."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.chunking import tensor
from studio_cas.chunking.profile import Profile, choose

MINIMUM = 1000


def reader(data):
    """`pread` of a file that holds `data`, and its complaint about offsets beyond what the system counts."""

    def read_at(offset, length):
        if not (0 <= offset < 2**63 and 0 <= length < 2**63):
            message = "Python int too large to convert to C long"
            raise OverflowError(message)
        return data[offset : offset + length]

    return read_at


def safetensors(tensors, header=None):
    offsets, at = {}, 0
    for name, body in tensors.items():
        offsets[name] = {"dtype": "U8", "shape": [len(body)], "data_offsets": [at, at + len(body)]}
        at += len(body)
    text = json.dumps({"__metadata__": {"format": "pt"}, **offsets}).encode() if header is None else header
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return file.getvalue()


BODIES = st.dictionaries(st.text("abcdef", min_size=1, max_size=8), st.binary(max_size=300), max_size=5)


@given(BODIES)
def test_the_spans_hold_the_tensors(tensors):
    data = safetensors(tensors)
    assert [data[slice(*span)] for span in tensor.safetensors_spans(len(data), reader(data))] == [*tensors.values()]
    data = zipped(tensors)
    assert [data[slice(*span)] for span in tensor.zip_spans(len(data), reader(data))] == [*tensors.values()]


def test_members_that_are_compressed_have_no_spans():
    data = zipped({"a": bytes(5000)}, zipfile.ZIP_DEFLATED)
    assert tensor.zip_spans(len(data), reader(data)) == []


def test_regions_begin_and_end_with_what_is_long_enough():
    spans = [(0, 10), (10, 2000), (2000, 5000), (-4, 3000), (100, 99_999)]
    assert tensor.regions(spans, 6000, MINIMUM) == ((10, 2000, 5000, 6000), {2000, 5000})
    assert tensor.regions([(0, 6000)], 6000, MINIMUM) == ((6000,), {6000})
    assert tensor.regions([(0, 10)], 6000, MINIMUM) == ((6000,), set())


def test_a_tensor_ends_where_another_begins_inside_it():
    assert tensor.regions([(0, 4000), (1000, 2500)], 6000, MINIMUM) == ((1000, 2500, 4000, 6000), {1000, 2500})


def check(cutting, size):
    assert cutting.regions[-1] == size
    assert list(cutting.regions) == sorted(set(cutting.regions))
    assert cutting.equal <= {*cutting.regions}


@pytest.mark.parametrize(
    "offsets",
    ["", "1", "null, 1", "Infinity, 1", "NaN, 1", "1e999, -1e999", "5, 2", "-5, 99999999999999999999999", "[], {}"],
)
def test_offsets_that_lie_never_raise(offsets):
    data = safetensors({}, b'{"a": {"data_offsets": [%b]}}' % offsets.encode()) + bytes(5000)
    check(choose(b"model.safetensors", len(data), reader(data), MINIMUM), len(data))


@pytest.mark.parametrize("header", [b"{}", b"[]", b"null", b'"text"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'])
def test_a_header_of_another_shape_has_no_spans(header):
    data = safetensors({}, header) + bytes(5000)
    assert not tensor.safetensors_spans(len(data), reader(data))


WHOLE = [safetensors({"a": b"1" * 2000, "b": b"2" * 1500}), zipped({"a": b"1" * 2000, "b": b"2" * 1500})]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"a.safetensors", b"b.pt", b"c.npz", b"d.db"]),
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(-300, 299), st.binary(min_size=1, max_size=8)), max_size=4),
    st.integers(0, 400),
)
def test_a_file_that_is_damaged_anywhere_never_raises(name, data, patches, cut):
    damaged = bytearray(data)
    for at, patch in patches:
        start = at % len(damaged)  # headers lie at the beginning, the directory of a zip at the end
        damaged[start : start + len(patch)] = patch
    content = bytes(damaged[: len(damaged) - cut])
    check(choose(name, len(content), reader(content), MINIMUM), len(content))


@pytest.mark.parametrize("field", range(4))
def test_a_zip64_end_that_points_beyond_everything_never_raises(field):
    pointer, count, length, offset = (2**64 - 1 if field == place else 0 for place in range(4))
    record = tensor.END64_RECORD.pack(b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = tensor.END64_LOCATOR.pack(b"PK\x06\x07", 0, pointer, 1)
    end = tensor.END_RECORD.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, tensor.MARK32, tensor.MARK32, 0)
    data = record + bytes(3000) + locator + end
    assert tensor.zip_spans(len(data), reader(data)) == []


@pytest.mark.parametrize(
    ("name", "data", "profile"),
    [
        (b"a.bin", bytes(9000), Profile.CDC),
        (b"a.log", bytes(9000), Profile.LOG),
        (b"events.out.tfevents.12.host", bytes(9000), Profile.LOG),
        (b"data.MDB", bytes(9000), Profile.FIXED),
        (b"any", b"SQLite format 3\0" + bytes(9000), Profile.FIXED),
        (b"a.safetensors", WHOLE[0], Profile.TENSOR),
        (b"a.pt", WHOLE[1], Profile.TENSOR),
        (b"a.zip", WHOLE[1], Profile.CDC),
        (b"a.log", b"short", Profile.CDC),
    ],
)
def test_the_profile_follows_from_name_and_head(name, data, profile):
    assert choose(name, len(data), reader(data), MINIMUM).profile is profile
