"""Whatever bytes come from a store, a decoder gives a value or one named error, within the memory it may take."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from array import array
from dataclasses import fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio_cas.chunking import tensor
from studio_cas.chunking.cdc import cutter, exact_cutter
from studio_cas.codec import frames, planes, zstd
from studio_cas.codec.choose import Codec
from studio_cas.errors import CorruptError, StoreUnavailableError
from studio_cas.formats import collection, document, experiment, hooks, keys, leaf, pack, root, store_config, version
from studio_cas.formats.leaf import Leaf, Place
from studio_cas.formats.root import LeafRow, Root
from studio_cas.ids import LeafId, ManifestId, PackId, digest
from studio_cas.store import footers
from studio_cas.worktree import completeness

PACKS = [PackId(bytes([number]) * 16) for number in range(3)]
PLACE = Place(PACKS[0], 16, 5, 9, 0, 1)
VERSION = version.Version(
    "exp", "tag", 7, ManifestId(bytes(32)), version.Tree(place=PLACE), tuple(PACKS), 10, 2, 3,
    1764000000.25, "host", "me", "ab", 6, False, False, ("größe", "\udcff"), ("fifo: why",),
)  # fmt: skip
EMBEDDED = root.embed(b"root", [b"leaf"])
ARTIFACT = experiment.RunArtifact("tag", "/path", mutable=True, reuse=experiment.Reuse("exp", "tag", 1, "00"))
GIT = experiment.Git("commit", "branch", dirty=True)

DOCUMENTS = {
    "a list of packs": (collection.decode, collection.encode(PACKS)),
    "format.json": (store_config.decode, store_config.encode(store_config.new_config())),
    "a version": (version.decode, version.encode(VERSION)),
    "an owner": (experiment.decode_owner, experiment.encode(experiment.Owner("exp", "anna", "host", 1.0))),
    "what was asked for": (
        experiment.decode_created,
        experiment.encode(experiment.Created("exp", 1, "anna", "host", 1.0, ("a", "b"), "/", 60.0, (ARTIFACT,))),
    ),
    "a start": (
        experiment.decode_started,
        experiment.encode(experiment.Started(1.0, "host", 7, "linux", "/python", "3.11", {"numpy": "2"}, GIT)),
    ),
    "a heartbeat": (experiment.decode_heartbeat, experiment.encode(experiment.Heartbeat(1, 1.0))),
    "an end": (experiment.decode_ended, experiment.encode(experiment.Ended(1.0, "failed", -9, ("why",)))),
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, -(2**63), 2**64, "0" * 64, "../../x", "\ud800", "2026-11-22T10:00", "0001-01-01"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


def fails_by_name(decode, *arguments):
    """Whether `decode` calls the bytes corrupt (or of a newer program); any other error is a failure of the test."""
    try:
        decode(*arguments)
    except (CorruptError, StoreUnavailableError) as error:
        assert len(str(error)) < 500
        return True
    return False


def paths_in(value, path=()):
    """Every place in a document: the keys and indexes that lead there."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from paths_in(below, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("what", DOCUMENTS)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_document_with_anything_in_any_place(what, data):
    decode, valid = DOCUMENTS[what]
    row = json.loads(valid)
    for _ in range(data.draw(st.integers(1, 2))):
        row = replaced(row, data.draw(st.sampled_from(sorted(paths_in(row), key=repr))), data.draw(JSON))
    fails_by_name(decode, json.dumps(row).encode())


@pytest.mark.parametrize("what", DOCUMENTS)
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 7))
def test_a_document_of_any_bytes_cut_short_or_damaged(what, noise, cut, at, bit):
    decode, valid = DOCUMENTS[what]
    fails_by_name(decode, noise)
    assert fails_by_name(decode, valid[: cut % (len(valid) - 1)])
    flipped = bytearray(valid)
    flipped[at % len(valid)] ^= 1 << bit
    fails_by_name(decode, bytes(flipped))


@pytest.mark.parametrize("what", DOCUMENTS)
@pytest.mark.parametrize("nested", [b"[" * 200_000, b'{"a":' * 200_000, b"[" * 900 + b"]" * 900])
def test_a_document_that_is_nested_without_end(what, nested):
    decode, valid = DOCUMENTS[what]
    assert fails_by_name(decode, nested)
    for name in json.loads(valid):
        fails_by_name(decode, json.dumps({**json.loads(valid), name: "@"}).encode().replace(b'"@"', nested))


@pytest.mark.parametrize("what", DOCUMENTS)
def test_a_document_in_which_one_value_has_another_type(what):
    """Nothing is converted: text is no number, a number no text, and 1 is not true."""
    decode, valid = DOCUMENTS[what]
    row = json.loads(valid)
    for path in paths_in(row):
        was = row
        for key in path:
            was = was[key]
        wrong = [value for value in (None, True, 7, "x", [], {}) if type(value) is not type(was)]
        for value in wrong:
            allowed = (
                value is None and {*path[-1:]} & {"parent", "git", "reuse", "exit_code", "usage", "resources"}
            ) or (type(value) is int and isinstance(was, float))
            changed = json.dumps(replaced(row, path, value)).encode()
            assert fails_by_name(decode, changed) != bool(allowed), (path, value)


@pytest.mark.parametrize("what", DOCUMENTS)
def test_a_document_that_is_too_long_is_not_parsed(what):
    decode, _ = DOCUMENTS[what]
    huge = b"[" + b"[]," * (document.LIMIT // 3) + b"[]]"
    peak = memory_of(lambda: fails_by_name(decode, huge))
    assert peak < len(huge) // 2


@pytest.mark.parametrize(
    "change",
    [
        {"store": "../../etc"},
        {"store": "A" * 32},
        {"store": ""},
        {"inline_limit": -1},
        {"inline_limit": 2**40},
        {"chunking": {"minimum": 0}},
        {"chunking": {"minimum": 300_000}},
        {"chunking": {"maximum": 2**40}},
        {"chunking": {"fixed": 0}},
        {"chunking": {"average": 1.5}},
        {"chunking": {"average": 1024 * 1024 + 1, "maximum": 4 * 1024 * 1024}},  # there is no mask for it
        {"chunking": {"minimum": 256, "average": 1023}},
        {"chunking": {"minimum": 256, "average": 1024, "maximum": 4095}},
        {"chunking": {"minimum": 255}},
    ],
)
def test_a_store_that_no_file_can_be_cut_for_is_corrupt(change):
    row = json.loads(store_config.encode(store_config.new_config()))
    for name, value in change.items():
        row[name] = {**row[name], **value} if isinstance(value, dict) else value
    with pytest.raises(CorruptError, match=r"format\.json"):
        store_config.decode(json.dumps(row).encode())


@pytest.mark.parametrize(
    "sizes", [(256, 1024, 4096), (1023, 1024, 4096), (256, 2**20, 2**24), (2**20 - 1, 2**20, 2**24)]
)
def test_files_can_be_cut_for_every_store_that_is_not(sizes):
    """Also logs, which are cut finer; and without the fast library as with it."""
    row = json.loads(store_config.encode(store_config.new_config()))
    row["chunking"] |= dict(zip(("minimum", "average", "maximum"), sizes, strict=True))
    chunking = store_config.decode(json.dumps(row).encode()).chunking
    content = memoryview(random.Random(1).randbytes(100_000))
    for parameters in (chunking, chunking.finer()):
        assert cutter(parameters)(content) == exact_cutter(parameters)(content)


@pytest.mark.parametrize("change", [{"format": 2}, {"hash": "sha256"}, {"features": ["new"]}, {"format": 10**18}])
def test_a_store_of_a_newer_program_says_upgrade(change):
    row = json.loads(store_config.encode(store_config.new_config()))
    with pytest.raises(StoreUnavailableError, match="upgrade"):
        store_config.decode(json.dumps({**row, **change}).encode())


@pytest.mark.parametrize("key", ["packs/ab/x", "packs/ab/" + "0" * 30, "packs/", "a", "packs/ab/" + "é" * 32])
def test_a_key_of_no_pack_is_corrupt(key):
    with pytest.raises(CorruptError, match="no pack"):
        keys.pack_id_of(key)


@pytest.mark.parametrize(
    "name", ["", "x", "1", "-000000000000001", "\uff11" * 16, "1_0_0_0_0_0_0_0_0", " " * 16, f"0/{9:016}", f"/{9:016}"]
)
def test_a_key_of_no_version_is_corrupt(name):
    with pytest.raises(CorruptError, match="no version record"):
        keys.version_number(f"versions/exp/tag/{name}")


def test_there_is_no_version_after_the_last_number():
    assert keys.version_number(keys.version("exp", "tag", keys.NUMBER_LIMIT)) == keys.NUMBER_LIMIT
    with pytest.raises(CorruptError, match="exp/tag has a version 9999999999999999, which nobody made"):
        keys.version("exp", "tag", keys.NUMBER_LIMIT + 1)


# Binary objects. Those that are under an id are sealed again, so that what follows the id is looked at.


def sealed(logical, rest=b""):
    return struct.pack("<I", len(logical)) + logical + rest


def small_leaf():
    made = Leaf([b"a", b"b"], bytearray([0, 1]), array("Q", [0, 9]), array("I", [0, 1]), [b"", b""], array("q", [0, 5]))
    made.lengths.append(9)
    made.ids.append(digest(b"chunk"))
    made.places.append(PLACE)
    return made


def small_root():
    row = LeafRow(LeafId(bytes(32)), 2, 9, b"a", PLACE)
    return Root(False, 1, 9, (row, row._replace(place=None) if hasattr(row, "_replace") else row), (PACKS[0],))


def patched(data, patches, cut):
    changed = bytearray(data)
    for at, patch in patches:
        start = at % (len(changed) + 1)
        changed[start : start + len(patch)] = patch
    return bytes(changed[: len(changed) - cut])


NUMBERS = st.sampled_from([0, 1, 2, 3, 255, 2**15, 2**31, 2**32 - 1]).map(lambda number: struct.pack("<I", number))
PATCHES = st.lists(st.tuples(st.integers(0, 10**6), NUMBERS | st.binary(min_size=1, max_size=9)), max_size=4)
CUTS = st.sampled_from([0, 0, 0, 1, 3, 4, 16, 31])


@settings(max_examples=400, deadline=None)
@given(PATCHES, PATCHES, CUTS, CUTS)
def test_a_leaf_that_was_sealed_over_anything(logical_patches, placed_patches, logical_cut, placed_cut):
    made = small_leaf()
    logical = patched(made.logical(), logical_patches, logical_cut)
    placed = patched(made.placed(), placed_patches, placed_cut)
    fails_by_name(leaf.decode, sealed(logical, placed), LeafId(digest(logical)))


@settings(max_examples=400, deadline=None)
@given(PATCHES, PATCHES, CUTS, CUTS)
def test_a_root_that_was_sealed_over_anything(logical_patches, placed_patches, logical_cut, placed_cut):
    made = small_root()
    whole = root.encode(made)
    logical = patched(made.logical(), logical_patches, logical_cut)
    placed = patched(whole[4 + len(made.logical()) :], placed_patches, placed_cut)
    fails_by_name(root.decode, sealed(logical, placed), ManifestId(digest(logical)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_no_leaf_root_run_or_footer(noise):
    for decode, expected in ((leaf.decode, LeafId), (root.decode, ManifestId)):
        assert fails_by_name(decode, noise, expected(bytes(32)))
        fails_by_name(decode, noise, expected(digest(noise[4:])))
    fails_by_name(hooks.decode, noise)
    fails_by_name(hooks.decode, hooks.MAGIC + noise)
    fails_by_name(pack.footer_extent, noise, len(noise))
    fails_by_name(pack.footer_extent, noise[: pack.TRAILER.size], len(noise) + 10**6)
    fails_by_name(pack.decode_footer, noise, noise)


FOOTER = pack.Footer(
    array("I", [10, 20]), array("I", [30, 40]), bytes([0, 1]), array("I", [0, 0, 1]), array("I", [10, 20, 40]),
    b"".join(digest(bytes([number])) for number in range(3)),
)  # fmt: skip


class OnePack:
    """As much of a store as reading a footer takes."""

    def __init__(self, data):
        self.data = data
        self.backend = self
        self.most = 0

    def read_tail(self, key, length):
        return self.data[-length:], len(self.data)

    def read(self, key, offset, length):
        self.most = max(self.most, length)
        return self.data[offset : offset + length]


def whole_pack(plain, frames_length=30):
    stored = zstd.compress(plain)
    trailer = pack.TRAILER.pack(len(stored), len(plain), 0, digest(stored), pack.FOOTER_MAGIC)
    return pack.header(pack.Kind.DATA) + bytes(frames_length) + stored + trailer


def plain_footer(footer=FOOTER):
    columns = (footer.stored, footer.plain, footer.codecs, footer.frames, footer.lengths, footer.ids)
    return pack.COUNTS.pack(len(footer.stored), len(footer.frames)) + b"".join(map(bytes, columns))


def test_a_footer_says_where_chunks_lie():
    found = footers.read_footer(OnePack(whole_pack(plain_footer())), PACKS[0])
    assert [place for _, place in found] == [
        Place(PACKS[0], 16, 10, 30, 0, 0), Place(PACKS[0], 16, 10, 30, 10, 0), Place(PACKS[0], 26, 20, 40, 0, 1),
    ]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(PATCHES, CUTS, st.sampled_from([30, 30, 0, 31, 70_000]))
@example([(4, struct.pack("<I", 0))], 0, 30)
@example([(0, struct.pack("<II", 1000, 0))], 3 * 40 + 18, 30)
def test_a_footer_that_was_sealed_over_anything(patches, cut, frames_length):
    data = OnePack(whole_pack(patched(plain_footer(), patches, cut), frames_length))
    fails_by_name(footers.read_footer, data, PACKS[0])


@pytest.mark.parametrize(
    "change",
    [
        {"frames": array("I", [0, 0, 2])},
        {"frames": array("I", [1, 0, 1])},
        {"lengths": array("I", [10, 21, 40])},
        {"lengths": array("I", [10, 20, 2**32 - 1])},
        {"stored": array("I", [10, 21])},
        {"stored": array("I", [2**32 - 1, 2**32 - 1])},
    ],
)
def test_a_footer_that_lies_about_its_frames_is_corrupt(change):
    lies = pack.Footer(**{field.name: change.get(field.name, getattr(FOOTER, field.name)) for field in fields(FOOTER)})
    with pytest.raises(CorruptError, match=PACKS[0].hex()):
        footers.read_footer(OnePack(whole_pack(plain_footer(lies))), PACKS[0])


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=9))
def test_a_trailer_that_lies_makes_nobody_read_or_allocate_much(stored_length, plain_length, body):
    trailer = pack.TRAILER.pack(stored_length, plain_length, 0, digest(body), pack.FOOTER_MAGIC)
    store = OnePack(pack.header(pack.Kind.DATA) + body + trailer)
    assert fails_by_name(footers.read_footer, store, PACKS[0])
    assert store.most <= len(store.data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 5), st.binary(max_size=90), PATCHES, CUTS, st.integers(0, 300))
def test_a_frame_of_any_bytes(codec, noise, patches, cut, size):
    numbers = b"".join(planes.encode(memoryview(bytes(range(64))), 4, 1, ((2, False), (1, True), (1, True))))
    for payload in (noise, patched(numbers, patches, cut), patched(zstd.compress(bytes(size)), patches, cut)):
        fails_by_name(frames.decode, codec, memoryview(payload), size)


# Memory: what is announced, and what small things cost when there are millions of them.


def memory_of(work):
    """The bytes that `work` had at most, beside those there before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MANY = 8 << 20


def leaf_of_nothing_but_separators():
    logical = leaf.COUNTS.pack(leaf.MAGIC, 1, 0, MANY, 0) + bytes(17) + bytes(MANY)
    return lambda: leaf.decode(sealed(logical, bytes(12)), LeafId(digest(logical)))


def leaf_of_a_million_packs():
    made = small_leaf()
    rest = struct.pack("<I", MANY // 16) + bytes(MANY)
    return lambda: leaf.decode(sealed(made.logical(), rest), LeafId(digest(made.logical())))


def root_of_nothing_but_separators():
    logical = root.LOGICAL.pack(root.MAGIC, 0, 1, 0, 0, MANY) + bytes(44) + bytes(MANY)
    return lambda: root.decode(sealed(logical, bytes(28)), ManifestId(digest(logical)))


def counts_of_billions():
    logical = leaf.COUNTS.pack(leaf.MAGIC, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(MANY)
    return lambda: leaf.decode(sealed(logical, bytes(12)), LeafId(digest(logical)))


def leaves_of_billions():
    logical = root.LOGICAL.pack(root.MAGIC, 0, 2**32 - 1, 0, 0, 2**32 - 1) + bytes(MANY)
    return lambda: root.decode(sealed(logical, bytes(28)), ManifestId(digest(logical)))


def an_embedded_tree_of_a_gigabyte():
    text = root.embed(bytes(MANY), [])
    return lambda: root.extract(text, MANY + 4)


def a_frame_that_declares_a_gigabyte():
    bomb = zstd.compress(bytes(MANY))
    return lambda: frames.decode(Codec.ZSTD, memoryview(bomb), 100)


@pytest.mark.parametrize(
    "lie",
    [
        leaf_of_nothing_but_separators,
        leaf_of_a_million_packs,
        root_of_nothing_but_separators,
        counts_of_billions,
        leaves_of_billions,
        an_embedded_tree_of_a_gigabyte,
        a_frame_that_declares_a_gigabyte,
    ],
)
def test_a_lie_about_sizes_costs_no_memory(lie):
    work = lie()
    peak = memory_of(lambda: fails_by_name(work))
    assert fails_by_name(work)
    assert peak < 5 * MANY


# Files of users that say of themselves how long they are.


def reader(data):
    def read_at(offset, length):
        if not (0 <= offset < 2**63 and 0 <= length < 2**63):
            raise OverflowError
        return data[offset : offset + length]

    return read_at


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=3), JSON | st.fixed_dictionaries({"data_offsets": JSON}), max_size=3))
@example({"a": {"data_offsets": [0, "9"]}})
@example({"a": {"data_offsets": [0, None]}})
@example({"a": {"data_offsets": [0, 1]}, "b": {"data_offsets": [0, "1"]}})
def test_a_safetensors_header_of_any_shape_is_complete_or_not(header):
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text
    assert completeness.probe(b"a.safetensors", len(data), reader(data)) in {True, False}
    tensor.safetensors_spans(len(data), reader(data))


@pytest.mark.parametrize("header", [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"7", b'{"a": []}', b"\xff" * 9])
def test_a_safetensors_header_of_another_shape_is_not_complete(header):
    data = struct.pack("<Q", len(header)) + header
    assert completeness.probe(b"a.safetensors", len(data), reader(data)) is False


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), PATCHES, CUTS)
def test_a_zip_directory_of_any_bytes_has_some_spans_or_none(noise, patches, cut):
    member = tensor.CENTRAL.pack(b"PK\1\2", 0, 0, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 0, 20, 0, 0, 0, 0, 0)
    extra = struct.pack("<HHQQ", 1, 16, 2**64 - 1, 2**64 - 1)
    directory = patched(member + extra, patches, 0)
    end = tensor.END_RECORD.pack(b"PK\5\6", 0, 0, 9, 9, len(directory), len(noise), 0)
    data = patched(tensor.ZIP_LOCAL_MAGIC + noise + directory + end, patches, cut)
    spans = tensor.zip_spans(len(data), reader(data))
    assert all(len(span) == 2 for span in spans)
    cuts, equal = tensor.regions(spans, len(data), 10)
    assert cuts == tuple(sorted(set(cuts)))
    assert equal <= {*cuts}
    assert completeness.probe(b"a.pt", len(data), reader(data)) in {True, False, None}
