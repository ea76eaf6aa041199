"""On any doubt the collector deletes nothing."""

from __future__ import annotations

import json

import pytest
from tests.reliability.folders import snapshot
from tests.store.garbage import DAY, objects, packs, pulled, put

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import CorruptError, StoreUnavailableError, TransientError
from studio_cas.formats import keys, store_config
from studio_cas.formats import root as roots
from studio_cas.formats.store_config import StoreConfig
from studio_cas.store import collecting, guard
from studio_cas.store.collecting import collect
from studio_cas.store.store import open_store
from studio_cas.worktree.capture import capture


def corrupt(store, key, data):
    store.backend.delete(key)
    store.backend.create(key, [data])


def damage_record(store, version):
    corrupt(store, keys.version("exp", "tag", version.number), b"{")


def damage_root(store, version):
    (record,) = objects(store, keys.VERSIONS)
    row = json.loads(bytes(store.backend.read(record)))
    text = row["tree"]["inline"]
    row["tree"]["inline"] = text[:40] + ("A" if text[40] != "A" else "B") + text[41:]
    corrupt(store, record, json.dumps(row).encode())


def come_from_the_future(store, version):
    record = keys.version("exp", "tag", version.number)
    row = json.loads(bytes(store.backend.read(record)))
    corrupt(store, record, json.dumps(row | {"format": 2}).encode())


def name_another(store, version):
    record = keys.version("exp", "tag", version.number)
    row = json.loads(bytes(store.backend.read(record)))
    corrupt(store, record, json.dumps(row | {"tag": "other"}).encode())


def name_other_tree_packs(store, version):
    record = keys.version("exp", "tag", version.number)
    row = json.loads(bytes(store.backend.read(record)))
    corrupt(store, record, json.dumps(row | {"tree_packs": "A" * 22 + "=="}).encode())


@pytest.mark.parametrize(
    "damage", [damage_record, damage_root, come_from_the_future, name_another, name_other_tree_packs]
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_version_that_cannot_be_read_stops_everything(store, work, damage, dry_run):
    version = capture(store, work, "exp", "tag").version
    put(store)
    damage(store, version)
    before = objects(store)
    with pytest.raises(CorruptError, match=r"exp/tag@1.*nothing was deleted") as caught:
        collect(store, grace=0, dry_run=dry_run)
    assert "remove that version" in str(caught.value)
    assert objects(store) == before


def test_a_tree_pack_that_is_gone_stops_everything(store, work, monkeypatch):
    monkeypatch.setattr(roots, "INLINE_LIMIT", 10)
    version = capture(store, work, "exp", "tag").version
    assert version.tree.place is not None
    collect(store, grace=0)
    store.backend.delete(keys.pack(version.tree.place.pack, tree=True))
    put(store)
    before = objects(store)
    with pytest.raises(CorruptError, match=r"exp/tag@1.*is missing from the store; nothing was deleted"):
        collect(store, grace=0)
    assert objects(store) == before


def test_a_version_that_becomes_unreadable_between_the_two_looks_stops_it_before_anything_is_deleted(
    store, inner, work, monkeypatch
):
    put(store)
    publish = collecting._Collector._publish

    def published(self):
        publish(self)
        inner.create(keys.version("exp", "tag", 1), [b"{"])

    monkeypatch.setattr(collecting._Collector, "_publish", published)
    before = objects(store)
    with pytest.raises(CorruptError, match="exp/tag@1"):
        collect(store, grace=0)
    assert objects(store) == before | {keys.condemned_list(1), keys.version("exp", "tag", 1)}


@pytest.mark.parametrize("content", [b"{", json.dumps({"format": 2, "packs": []}).encode()])
def test_a_pin_that_cannot_be_read_stops_everything_until_it_is_old(store, clock, content):
    put(store)
    clock.now += DAY
    key = f"{keys.PINS}{'a' * 32}"
    store.backend.create(key, [content])
    before = objects(store)
    with pytest.raises(CorruptError, match=f"{key}.*nothing was deleted"):
        collect(store)
    assert objects(store) == before
    clock.now += DAY
    assert collect(store).data.objects == 1


def test_an_object_that_is_no_version_stops_everything(store):
    put(store)
    store.backend.create(f"{keys.VERSIONS}exp/README", [b"hello"])
    before = objects(store)
    with pytest.raises(CorruptError, match="versions/exp/README, which is no version record: move it away"):
        collect(store, grace=0)
    assert objects(store) == before


def test_a_store_of_a_later_format_is_not_even_opened(tmp_path):
    inner = MemoryBackend()
    inner.create(keys.FORMAT, [store_config.encode(StoreConfig("0" * 32, features=("later",)))])
    with pytest.raises(StoreUnavailableError, match="later"):
        open_store(inner, home=tmp_path)


def test_a_condemned_list_that_cannot_be_read_stops_everything(store):
    put(store)
    store.backend.create(keys.condemned_list(1), [b"{"])
    before = objects(store)
    with pytest.raises(CorruptError, match=f"{keys.condemned_list(1)} is damaged"):
        collect(store, grace=0)
    assert objects(store) == before


class Forgetful(MemoryBackend):
    """Leaves a version out of some of its listings."""

    left_out = ()
    listings = 0

    def list(self, prefix, limit=None):
        found = super().list(prefix, limit)
        if prefix != keys.VERSIONS:
            return found
        self.listings += 1
        return (one for one in found if self.listings not in self.left_out or one.key != keys.version("exp", "tag", 1))


@pytest.mark.parametrize(("left_out", "stops"), [((1,), False), ((2,), True)])
def test_a_listing_that_is_cut_short_loses_nothing(tmp_path, work, left_out, stops):
    """The second one shows what the first left out, or is not believed."""
    inner = Forgetful()
    with open_store(inner, home=tmp_path / "home") as store:
        capture(store, work, "exp", "tag")
        put(store)
        before = packs(store)
        inner.listings, inner.left_out = 0, left_out
        if stops:
            with pytest.raises(TransientError, match=r"left out versions/exp/tag/.*nothing was deleted"):
                collect(store, grace=0)
            assert packs(store) == before
        else:
            found = collect(store, grace=0)
            assert found.spared.objects > 0
        assert pulled(store, "exp/tag", tmp_path / "out") == snapshot(work)


def test_so_it_is_with_pins(store, clock, monkeypatch):
    """Whoever sends what waited relies on them."""
    free, pinned = put(store), put(store)
    listed = MemoryBackend.list
    publish = collecting._Collector._publish

    def published(self):
        publish(self)
        monkeypatch.setattr(
            MemoryBackend,
            "list",
            lambda self, prefix, limit=None: iter(()) if prefix == keys.PINS else listed(self, prefix),
        )

    clock.now += DAY
    guard.create_pin(store, frozenset([pinned]))
    monkeypatch.setattr(collecting._Collector, "_publish", published)
    with pytest.raises(TransientError, match=r"left out pins/.*nothing was deleted"):
        collect(store)
    assert packs(store) == {free, pinned}
