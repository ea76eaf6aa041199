"""Leaves, roots, versions, footers and small objects: what goes in comes out, and damage has one name."""

from __future__ import annotations

import json
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.codec import zstd
from studio_cas.errors import CorruptError, RefusedError, UsageError
from studio_cas.formats import collection, hooks, leaf, pack, root, spec, version
from studio_cas.formats.leaf import EntryKind, Leaf, PathOrder, Place
from studio_cas.formats.root import LeafRow, Root
from studio_cas.ids import LeafId, ManifestId, PackId, digest

PACKS = [PackId(bytes([number]) * 16) for number in range(3)]
U32 = st.integers(0, 2**32 - 1)
PLACES = st.builds(Place, st.sampled_from(PACKS), U32, U32, U32, U32, st.integers(0, 2))
NAMES = st.binary(min_size=1, max_size=5).filter(lambda name: not {0, 47} & set(name) and name not in {b".", b".."})
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)


@st.composite
def leaves(draw):
    made = Leaf()
    for path in draw(st.lists(PATHS, min_size=1, max_size=5, unique=True)):
        chunks = draw(st.lists(st.tuples(st.integers(1, 2**20), PLACES), max_size=3))
        made.paths.append(path)
        made.attributes.append(draw(st.sampled_from([0, 1, 2, 3, 0x41])))
        made.sizes.append(draw(st.integers(0, 2**63)))
        made.counts.append(len(chunks))
        made.literals.append(draw(st.binary(max_size=9)))
        made.mtimes.append(draw(st.integers(-(2**62), 2**62)))
        for length, place in chunks:
            made.lengths.append(length)
            made.ids.append(digest(bytes([len(made.ids)])))
            made.places.append(place)
    return made


ROWS = st.builds(LeafRow, st.binary(min_size=32, max_size=32).map(LeafId), U32, U32, PATHS, PLACES | st.none())
ROOTS = st.builds(
    Root, st.booleans(), U32, U32, st.lists(ROWS, max_size=4).map(tuple), st.lists(st.sampled_from(PACKS)).map(tuple)
)


def only_corrupt(decode, *arguments):
    """Run `decode` on damaged bytes: it may succeed or call them corrupt, and raise nothing else."""
    try:
        decode(*arguments)
    except CorruptError:
        return False
    return True


@settings(max_examples=100, deadline=None)
@given(leaves(), st.integers(0, 10**6), st.integers(0, 7))
def test_a_leaf_survives_and_no_bit_of_its_logical_part_flips_unseen(made, at, bit):
    leaf_id, stored = leaf.encode(made)
    assert leaf.decode(stored, leaf_id) == made
    with pytest.raises(CorruptError):
        leaf.decode(stored[: at % len(stored)], leaf_id)
    logical = 4 + int.from_bytes(stored[:4], "little")
    for within, seen in ((logical, True), (len(stored), False)):
        flipped = bytearray(stored)
        flipped[at % within] ^= 1 << bit
        assert not only_corrupt(leaf.decode, bytes(flipped), leaf_id) or not seen


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 3), st.integers(0, 3))
def test_a_leaf_whose_id_is_right_may_hold_anything(body, entries, chunks):
    logical = leaf.COUNTS.pack(leaf.MAGIC, entries, chunks, 3, 0) + body
    for content in (logical, body):
        data = leaf.U32.pack(len(content)) + content + body
        only_corrupt(leaf.decode, data, LeafId(digest(content)))


@settings(max_examples=100, deadline=None)
@given(ROOTS, st.integers(0, 10**6), st.integers(0, 7))
def test_a_root_survives_and_no_bit_of_its_logical_part_flips_unseen(made, at, bit):
    stored = root.encode(made)
    found = root.decode(stored, made.manifest_id())
    assert found.logical() == made.logical()
    assert root.encode(found) == stored
    assert not only_corrupt(root.decode, stored[: at % len(stored)], made.manifest_id())
    logical = 4 + int.from_bytes(stored[:4], "little")
    for within, seen in ((logical, True), (len(stored), False)):
        flipped = bytearray(stored)
        flipped[at % within] ^= 1 << bit
        assert not only_corrupt(root.decode, bytes(flipped), made.manifest_id()) or not seen


@given(st.binary(max_size=50), st.lists(st.binary(max_size=50), max_size=3), st.integers(0, 300))
def test_an_embedded_tree_survives(first, others, cut):
    text = root.embed(first, others)
    size = sum(4 + len(part) for part in (first, *others))
    assert root.extract(text, size) == [first, *others]
    only_corrupt(root.extract, text[: cut % len(text)], size)
    only_corrupt(root.extract, text, size + cut)


@pytest.mark.parametrize("path", [b"", b"/a", b"a/", b"a//b", b".", b"..", b"../a", b"a/..", b"a/../b", b"a/./b"])
def test_an_unsafe_path_is_refused(path):
    made = Leaf([path], bytearray([1]), array("Q", [0]), array("I", [0]), [b""], array("q", [0]))
    leaf_id, stored = leaf.encode(made)
    with pytest.raises(RefusedError):
        leaf.decode(stored, leaf_id)


FOLDER, FILE, LINK = EntryKind.FOLDER, EntryKind.FILE, EntryKind.LINK


@pytest.mark.parametrize(
    "entries",
    [
        [(b"a", FOLDER), (b"a/b", FILE), (b"a-", FILE), (b"c", FOLDER), (b"c/d", FOLDER), (b"c/d/e", FILE)],
        [(b"a", FILE | leaf.CONTINUED), (b"a", FILE | leaf.CONTINUATION), (b"b", FILE)],
    ],
)
def test_paths_in_order_and_inside_their_folders_are_taken(entries):
    order = PathOrder()
    for path, attribute in entries:
        order.check(path, attribute)


@pytest.mark.parametrize(
    "entries",
    [
        [(b"b", FILE), (b"a", FILE)],
        [(b"a", FILE), (b"a", FILE)],
        [(b"a", LINK), (b"a/b", FILE)],
        [(b"a", FILE), (b"a/b", FILE)],
        [(b"a/b", FILE)],
        [(b"a", FOLDER), (b"b", FILE), (b"a/c", FILE)],
        [(b"a", FOLDER), (b"a-", FILE), (b"a/b", FILE)],
        [(b"a", FILE), (b"b", FILE | leaf.CONTINUATION)],
    ],
)
def test_paths_out_of_order_or_through_a_link_are_refused(entries):
    order = PathOrder()
    for path, attribute in entries[:-1]:
        order.check(path, attribute)
    with pytest.raises(RefusedError):
        order.check(*entries[-1])


COLUMN = st.lists(st.tuples(U32, U32, st.integers(0, 255)), max_size=4)


@settings(max_examples=100, deadline=None)
@given(COLUMN, st.lists(st.tuples(U32, U32), max_size=4), st.integers(0, 10**6), st.integers(0, 7))
def test_a_footer_survives_and_no_bit_of_it_flips_unseen(rows, chunks, at, bit):
    footer = pack.Footer(
        array("I", [row[0] for row in rows]),
        array("I", [row[1] for row in rows]),
        bytes(row[2] for row in rows),
        array("I", [chunk[0] for chunk in chunks]),
        array("I", [chunk[1] for chunk in chunks]),
        b"".join(digest(bytes([number])) for number in range(len(chunks))),
    )
    stored, trailer = pack.encode_footer(footer)
    size = pack.HEADER_SIZE + len(stored) + len(trailer)
    assert pack.footer_extent(trailer, size) == (pack.HEADER_SIZE, len(stored))
    assert pack.decode_footer(stored, trailer) == footer
    assert not only_corrupt(pack.decode_footer, stored[: at % len(stored)], trailer)
    assert not only_corrupt(pack.footer_extent, trailer[: at % len(trailer)], size)
    flipped = bytearray(stored)
    flipped[at % len(stored)] ^= 1 << bit
    assert not only_corrupt(pack.decode_footer, flipped, trailer)


@given(st.binary(max_size=100))
def test_a_footer_whose_digest_is_right_may_hold_anything(plain):
    stored = zstd.compress(plain)
    trailer = pack.TRAILER.pack(len(stored), len(plain), 0, digest(stored), pack.FOOTER_MAGIC)
    only_corrupt(pack.decode_footer, stored, trailer)


VERSION = version.Version(
    "exp", "tag", 7, ManifestId(bytes(32)), version.Tree(place=Place(PACKS[0], 16, 5, 9, 0, 1)), tuple(PACKS), 10, 2, 3,
    1764000000.25, "host", "me", "ab", 6, False, False, ("größe", "\udcff"), ("fifo: why",),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=3
)


def test_a_version_survives():
    assert version.decode(version.encode(VERSION)) == VERSION


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(json.loads(version.encode(VERSION)))), JSON, st.integers(0, 2000))
def test_a_version_with_any_field_changed_is_corrupt_or_a_version(name, value, cut):
    document = json.loads(version.encode(VERSION))
    only_corrupt(version.decode, json.dumps({**document, name: value}).encode())
    only_corrupt(version.decode, json.dumps({**document, "size": float("inf")}).encode())
    only_corrupt(version.decode, version.encode(VERSION)[: cut % 500])


@given(st.sets(st.sampled_from(PACKS)), st.binary(max_size=40))
def test_a_list_of_packs_and_a_run_of_hooks_survive(packs, noise):
    stored = collection.encode(packs)
    assert collection.decode(stored) == packs
    for one in packs:  # a wrong bit in it
        digit = one.hex()[7]
        wrong = one.hex()[:7] + f"{int(digit, 16) ^ 1:x}" + one.hex()[8:]
        with pytest.raises(CorruptError, match="not what its digest says"):
            collection.decode(stored.replace(one.hex().encode(), wrong.encode()))
    rows = sorted((digest(one), one) for one in packs)
    assert hooks.decode(hooks.encode(rows)) == rows
    only_corrupt(collection.decode, noise)
    only_corrupt(hooks.decode, noise)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("exp/tag", ("exp", "tag", None, b"")),
        ("exp/tag@7", ("exp", "tag", "7", b"")),
        ("exp/tag@-1/a/b", ("exp", "tag", "-1", b"a/b")),
        ("e/t@2026-11-22T10:00", ("e", "t", "2026-11-22T10:00", b"")),
        ("exp/tag/a@b/", ("exp", "tag", None, b"a@b")),
    ],
)
def test_a_spec_has_parts(text, parts):
    assert spec.parse_spec(text) == spec.Spec(*parts)


@pytest.mark.parametrize("text", ["", "exp", "/tag", "exp/", "exp/@1", "exp/tag@", "../x", "a/..", "a b/c", "é/t"])
def test_what_is_no_spec_is_a_usage_error(text):
    with pytest.raises(UsageError):
        spec.parse_spec(text)
