"""A damaged store is noticed: the error names what is damaged, and no wrong byte reaches a file."""

import json
import os
import random
import re
from pathlib import Path

import pytest
from tests.reliability.folders import fill, names, snapshot

from studio_cas.errors import CorruptError, NotFoundError, RefusedError
from studio_cas.formats import keys
from studio_cas.ids import PackId
from studio_cas.store import damage as damages
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import list_versions, resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.listing import read_file
from studio_cas.worktree.materialise import materialise
from studio_cas.worktree.pieces import PlacedChunk, read_pieces

pytestmark = pytest.mark.own_store


def only(folder):
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    return path


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(data)


def flip_in_the_middle(path):
    flip(path, path.stat().st_size * 4)


def truncate(path):
    os.truncate(path, path.stat().st_size // 3)


def empty(path):
    os.truncate(path, 0)


DAMAGE = [flip_in_the_middle, truncate, empty, os.unlink]


@pytest.fixture
def version(store, work):
    return capture(store, fill(work), "exp", "tag").version


@pytest.fixture
def many(store, work):
    """A version whose tree is in a tree pack."""
    for number in range(1500):
        (work / f"{number:04}-{'x' * 40}").write_bytes(b"%d" % number)
    return capture(store, work, "exp", "tag").version


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_data_pack_is_named_with_file_and_artifact(store, version, out, damage):
    damage(only(store_folder(store) / "packs"))
    with pytest.raises(CorruptError, match=r"^exp/tag@1: (sub/small-\d|big): .*pack [0-9a-f]{32}"):
        materialise(store, version, out / "here")
    assert names(out) == []


def store_folder(store):
    return Path(store.url)


@pytest.mark.parametrize("damage", DAMAGE)
def test_cat_of_a_damaged_pack_gives_no_wrong_byte(store, version, work, damage):
    damage(only(store_folder(store) / "packs"))
    given = bytearray()
    with pytest.raises(CorruptError, match=r"^exp/tag@1: big: "):
        for piece in read_file(store, version, b"big"):
            given += piece
    assert (work / "big").read_bytes().startswith(given)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_data_pack_leaves_an_earlier_pull_as_it_was(store, version, work, out, damage):
    materialise(store, version, out / "here")
    earlier = snapshot(out / "here")
    (work / "sub" / "small-3").write_bytes(random.Random(9).randbytes(6000))
    newer = capture(store, work, "exp", "tag").version
    (new_pack,) = [p for p in (store_folder(store) / "packs").rglob("*") if p.is_file() and p.stat().st_size < 20_000]
    damage(new_pack)
    with pytest.raises(CorruptError, match=r"^exp/tag@2: sub/small-3: "):
        materialise(store, newer, out / "here")
    assert snapshot(out / "here") == earlier
    assert names(out) == ["here"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_tree_pack_is_named_with_the_artifact(store, many, out, damage):
    damage(only(store_folder(store) / "trees"))
    with pytest.raises(CorruptError, match=r"^exp/tag@1: .*pack [0-9a-f]{32}"):
        materialise(store, many, out / "here")
    assert names(out) == []


def test_any_bit_of_a_tree_is_noticed_or_does_not_matter(store, many):
    """Its places and times too, which are under no id."""
    pack = only(store_folder(store) / "trees")
    original = pack.read_bytes()
    leaves = [leaf for _, leaf in TreeReader(store, many).leaves()]
    source = random.Random(5)
    noticed = 0
    for _ in range(300):
        flip(pack, source.randrange(len(original) * 8))
        try:
            assert [leaf for _, leaf in TreeReader(store, many).leaves()] == leaves
        except CorruptError:
            noticed += 1
        pack.write_bytes(original)
    assert noticed > 200


@pytest.mark.parametrize("place", range(0, 100, 3))
def test_any_bit_of_a_data_pack_is_noticed_or_does_not_matter(store, version, work, out, place):
    pack = only(store_folder(store) / "packs")
    flip(pack, pack.stat().st_size * 8 * place // 100 + place % 8)
    try:
        materialise(store, version, out / "here")
    except CorruptError as error:
        assert re.match(r"exp/tag@1: \S+: .*pack", str(error))
        assert names(out) == []
    else:
        assert snapshot(out / "here") == snapshot(work)


def test_any_bit_of_a_version_record_is_noticed_or_does_not_matter(store, version, work, out):
    record = only(store_folder(store) / "versions")
    original = record.read_bytes()
    expected = snapshot(work)
    source = random.Random(3)
    noticed = 0
    for number in range(250):
        flip(record, source.randrange(len(original) * 8))
        try:
            found = resolve(store, "exp/tag@1")
            assert found.name == version.name
            materialise(store, found, out / f"{number}")
        except CorruptError as error:
            noticed += 1
            assert "exp/tag" in str(error)
            assert names(out) == []
        else:
            assert snapshot(out / f"{number}") == expected
            (out / f"{number}").rename(out.parent / f"done-{number}")
        record.write_bytes(original)
    assert noticed > 100


@pytest.mark.parametrize("damage", [truncate, empty])
def test_a_damaged_version_record_is_named(store, version, damage):
    damage(only(store_folder(store) / "versions"))
    with pytest.raises(CorruptError, match=r"exp/tag@1"):
        resolve(store, "exp/tag")


def test_a_deleted_version_record_is_not_found(store, version, work):
    (work / "more").write_bytes(b"more")
    capture(store, work, "exp", "tag")
    (store_folder(store) / f"versions/exp/tag/{10**16 - 1 - 1:016}").unlink()
    with pytest.raises(NotFoundError, match="exp/tag has no version 1"):
        resolve(store, "exp/tag@1")
    assert [found.number for found in list_versions(store, "exp", "tag")] == [2]


def test_a_record_of_another_version_in_its_place_is_noticed(store, version):
    record = only(store_folder(store) / "versions")
    document = json.loads(record.read_bytes())
    record.write_text(json.dumps({**document, "experiment": "other"}))
    with pytest.raises(CorruptError, match="exp/tag@1"):
        resolve(store, "exp/tag")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": 1e999}', "[]", "null", "\xff", '{"format": 1}', ""])
def test_a_record_that_is_no_record_is_noticed(store, version, text):
    only(store_folder(store) / "versions").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptError, match="exp/tag@1"):
        resolve(store, "exp/tag")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("change", [True, False])
def test_a_capture_stands_alone_where_the_tree_of_the_latest_version_is_damaged(
    store, many, work, out, tmp_path, damage, change
):
    """On a machine that knows nothing, and on one that would take the leaves from where they lay."""
    damage(only(store_folder(store) / "trees"))
    if change:
        (work / "new").write_bytes(b"new")
    with open_store(store_folder(store), home=tmp_path / "another home") as another:
        made = capture(another, work, "exp", "tag")
        assert (made.created, made.version.number, made.version.parent) == (True, 2, 1)
        assert "tree pack" in made.damaged[0]
        materialise(another, made.version, out)
        assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in work.iterdir())
    assert not capture(store, work, "exp", "tag").damaged


@pytest.mark.parametrize("damage", [truncate, empty])
@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_record_of_the_latest_version_stops_neither_captures_nor_earlier_versions(
    store, version, work, out, tmp_path, damage, known
):
    (work / "second").write_bytes(b"second")
    capture(store, work, "exp", "tag")
    damage(store_folder(store) / keys.version("exp", "tag", 2))
    (work / "third").write_bytes(b"third")
    home = store.home if known else tmp_path / "another home"
    with open_store(store_folder(store), home=home) as another:
        assert resolve(another, "exp/tag@1") == resolve(another, "exp/tag@-1")
        assert resolve(another, "exp/tag@1").manifest_id == version.manifest_id
        made = capture(another, work, "exp", "tag")
        assert (made.created, made.version.number, made.version.parent) == (True, 3, None)
        assert made.damaged[0].startswith("exp/tag@2: ")
        materialise(another, resolve(another, "exp/tag"), out)
        assert snapshot(out) == snapshot(work)
        assert not capture(another, work, "exp", "tag").created
        with pytest.raises(CorruptError, match="exp/tag@2"):
            list(list_versions(another, "exp", "tag"))
        told = []
        assert [found.number for found in list_versions(another, "exp", "tag", damaged=told.append)] == [3, 1]
        assert len(told) == 1


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["trees", "packs"])
def test_what_a_pull_found_damaged_is_stored_again_by_the_next_capture(store, many, work, out, damage, kind):
    (work / "large").write_bytes(os.urandom(200_000))
    before = capture(store, work, "exp", "tag").version
    for path in [*(store_folder(store) / kind).rglob("*")]:
        if path.is_file():
            damage(path)
    with pytest.raises(CorruptError):
        materialise(store, before, out / "before")
    made = capture(store, work, "exp", "tag")
    assert made.created
    materialise(store, made.version, out / "after")
    assert snapshot(out / "after") == snapshot(work)
    assert not capture(store, work, "exp", "tag").created


@pytest.mark.parametrize("lie", [{"offset": 17}, {"codec": 1}, {"plain": 5000}, {"inner": 1}])
def test_a_manifest_that_lies_makes_nobody_give_up_a_sound_pack(store, version, work, lie):
    leaf = next(leaf for _, leaf in TreeReader(store, version).leaves())
    chunk_id, length, place = leaf.ids[-1], leaf.lengths[-1], leaf.places[-1]
    assert read_pieces(store, [PlacedChunk(chunk_id, length, place)]).failure is None
    (name, value) = next(iter(lie.items()))
    lying = place._replace(**{name: getattr(place, name) + value})
    wanted = PlacedChunk(chunk_id, length, lying)
    with pytest.raises((CorruptError, RefusedError)):
        read_pieces(store, [wanted]).take(wanted)
    assert not damages.known(store)
    assert not capture(store, work, "exp", "tag").created


def test_a_pack_that_never_was_costs_nothing(store, version, work):
    damages.examine(store, PackId(bytes(16)))
    assert damages.known(store) == {PackId(bytes(16))}
    assert not capture(store, work, "exp", "tag").created
