"""The collector: it deletes what nobody names, and nothing else; on any doubt it deletes nothing."""

from __future__ import annotations

import json
import os
import time

import pytest
from tests.reliability.folders import fill, snapshot

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.metered import Metered
from studio_cas.backends.probe import TRIALS
from studio_cas.errors import CorruptError, NotFoundError, PermissionDeniedError, StoreUnavailableError, TransientError
from studio_cas.formats import collection, hooks, keys, store_config
from studio_cas.formats import root as roots
from studio_cas.formats.store_config import StoreConfig
from studio_cas.ids import PackId
from studio_cas.store import collecting, guard, versions
from studio_cas.store.collecting import collect
from studio_cas.store.deleting import Amount
from studio_cas.store.merging import Policy
from studio_cas.store.reachability import packs_of
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.testing.moody_backend import Deaths, KilledError, Moody
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

DAY = 86400.0


class Clock:
    """An hour behind that of this machine."""

    def __init__(self):
        self.now = time.time() - 3600

    def __call__(self):
        self.now += 0.01
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def inner(clock):
    return MemoryBackend(clock=clock)


@pytest.fixture
def store(inner, tmp_path):
    with open_store(inner, home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def work(tmp_path):
    return fill(tmp_path / "work", big=300_000)


def objects(store, *prefixes):
    return {found.key for prefix in prefixes or ("",) for found in store.backend.list(prefix)}


def packs(store):
    return {keys.pack_id_of(key) for key in objects(store, keys.PACKS, keys.TREES)}


def remove(store, name):
    version = versions.resolve(store, name)
    store.backend.delete(keys.version(version.experiment, version.tag, version.number))


def put(store, pack=None, *, tree=False):
    pack = pack or PackId.random()
    store.backend.create(keys.pack(pack, tree=tree), [b"what nobody names"])
    return pack


def pulled(store, name, dest):
    materialise(store, versions.resolve(store, name), dest)
    return snapshot(dest)


def change(work, name="sub/small-3", size=200_000):
    (work / name).write_bytes(os.urandom(size))


def test_what_a_removed_version_alone_needed_goes_and_the_rest_stays(store, work, tmp_path):
    capture(store, work, "exp", "tag")
    change(work)
    second = capture(store, work, "exp", "tag").version
    expected = snapshot(work)
    change(work, size=300_000)
    third = capture(store, work, "exp", "tag").version
    needed = packs_of(store, second)
    only = packs_of(store, third) - needed
    assert collect(store, grace=0).data == Amount()
    remove(store, "exp/tag@3")
    found = collect(store, grace=0)
    assert (found.data.objects, found.data.bytes > 290_000) == (1, True)
    assert not packs(store) & only
    assert packs(store) >= needed
    assert pulled(store, "exp/tag", tmp_path / "out") == expected
    assert not collect(store, grace=0).data.objects


def test_without_any_version_nothing_is_left_but_the_lists(store, work):
    capture(store, work, "exp", "tag")
    remove(store, "exp/tag")
    put(store, tree=True)
    found = collect(store, grace=0)
    assert (found.data.objects, found.trees.objects, found.versions) == (1, 1, 0)
    assert objects(store) == {keys.FORMAT, keys.condemned_list(1)}


def test_a_dry_run_says_what_a_collection_does_and_changes_nothing(store, work):
    capture(store, work, "exp", "tag")
    put(store)
    put(store, tree=True)
    store.backend.create(f"{keys.PINS}{'0' * 32}", [collection.encode([])])
    before = objects(store)
    foreseen = collect(store, grace=0, dry_run=True)
    assert objects(store) == before
    done = collect(store, grace=0)
    assert (foreseen.data, foreseen.trees, foreseen.leftovers) == (done.data, done.trees, done.leftovers)
    assert (foreseen.dry_run, done.dry_run) == (True, False)


def test_what_is_younger_than_the_grace_stays(store, clock):
    old = put(store)
    clock.now += DAY
    young = put(store)
    found = collect(store)
    assert (found.data.objects, found.young.objects) == (1, 1)
    assert packs(store) == {young}
    assert old not in packs(store)
    clock.now += DAY
    assert collect(store).data.objects == 1
    assert packs(store) == set()


def test_a_pin_keeps_its_packs_until_it_is_older_than_the_grace(store, clock):
    pinned, free = put(store), put(store)
    clock.now += DAY
    pin = guard.create_pin(store, frozenset([pinned]))
    collect(store)
    assert packs(store) == {pinned}
    assert free not in packs(store)
    clock.now += DAY
    found = collect(store)
    assert (found.data.objects, found.leftovers.pins.objects) == (1, 1)
    assert pin not in objects(store)


def test_tree_packs_are_needed_too(store, tmp_path):
    work = tmp_path / "many"
    work.mkdir()
    for number in range(3000):
        (work / f"{number:05}").write_bytes(b"%d" % number)
    assert capture(store, work, "exp", "tag").version.tree_packs
    put(store, tree=True)
    assert collect(store, grace=0).trees.objects == 1
    assert pulled(store, "exp/tag", tmp_path / "out") == snapshot(work)


def test_a_record_and_its_root_name_every_pack_that_a_leaf_does(store, tmp_path):
    """So no leaf is read. Also where captures reuse leaves, adopt packs of others, and merge."""
    store.merging = Policy(small=1 << 20, full=1 << 20, many=2, few=1, age=0.0, spare=0)
    work = tmp_path / "work"
    work.mkdir()
    for number in range(9000):
        (work / f"{number:05}").write_bytes(b"%d" % number * 20)
    for number in range(5):
        (work / f"{number:05}").write_bytes(os.urandom(70_000))
        (work / "z").write_bytes(os.urandom(5000))
        capture(store, work, "exp", "tag")
    capture(store, work, "other", "tag")
    seen = 0
    for name in ("exp", "other"):
        for version in versions.list_versions(store, name, "tag"):
            tree = TreeReader(store, version)
            rows = list(tree.leaves())
            needed = {place.pack for _, leaf in rows for place in leaf.places}
            needed |= {row.place.pack for row, _ in rows if row.place}
            needed |= {version.tree.place.pack} if version.tree.place else set()
            assert packs_of(store, version) >= needed
            seen += len(needed)
    assert seen > 15


def test_runs_of_hooks_that_name_only_packs_that_are_gone_go_with_them(store, work):
    change(work, "big", 9 << 20)
    capture(store, work, "exp", "tag")
    kept = put(store)
    guard.create_pin(store, frozenset([kept]))
    mixed = f"{keys.HOOKS}{1:014}-00000000"
    store.backend.create(mixed, [hooks.encode([(bytes(32), kept), (b"1" * 32, PackId.random())])])
    damaged = f"{keys.HOOKS}{2:014}-00000000"
    store.backend.create(damaged, [b"whatever"])
    assert len(objects(store, keys.HOOKS)) == 3
    assert collect(store, dry_run=True).leftovers.hooks == Amount()
    assert collect(store, grace=DAY).leftovers.hooks == Amount()
    remove(store, "exp/tag")
    guard.create_pin(store, frozenset([kept]))
    assert collect(store, grace=0, dry_run=True).leftovers.hooks.objects == 2  # without grace no pin counts
    found = collect(store, grace=0)
    assert found.leftovers.hooks.objects == 2
    assert objects(store, keys.HOOKS) == {damaged}


def test_objects_that_tried_something_out_go(store, clock):
    store.backend.create(f"{TRIALS}{'0' * 32}", [b"1"])
    clock.now += 2 * DAY
    assert collect(store).leftovers.trials.objects == 1
    assert objects(store) == {keys.FORMAT}


# What cannot be read.


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


# Collectors that are refused, die, or run beside each other.


class Refusing(MemoryBackend):
    """Deletes nothing that `refuses`."""

    refuses = staticmethod(lambda key: True)

    def delete(self, key):
        if self.refuses(key):
            raise PermissionDeniedError(f"memory: {key} can not be deleted: the credential may not")
        super().delete(key)


def test_a_credential_that_may_not_delete_is_told_so_before_anything_is_published(tmp_path):
    with open_store(Refusing(), home=tmp_path) as store:
        put(store)
        with pytest.raises(PermissionDeniedError, match="collected with a credential that may delete"):
            collect(store, grace=0)
        assert not objects(store, keys.GC)
        assert len(objects(store, keys.PACKS)) == 1
        assert collect(store, grace=0, dry_run=True).data.objects == 1


def test_a_pack_that_is_held_keeps_nobody_from_the_others(tmp_path):
    inner = Refusing()
    with open_store(inner, home=tmp_path) as store:
        held = put(store)
        for _ in range(5):
            put(store)
        inner.refuses = lambda key: key == keys.pack(held)
        with pytest.raises(PermissionDeniedError, match=r"were deleted: 5, refused: 1 "):
            collect(store, grace=0)
        assert packs(store) == {held}
        inner.refuses = lambda key: False
        assert collect(store, grace=0).data.objects == 1
        assert len(objects(store, keys.GC)) == 1  # it was on the list already


def test_where_nothing_may_be_deleted_it_is_given_up_soon(tmp_path, monkeypatch):
    from studio_cas.store import deleting

    monkeypatch.setattr(deleting, "REFUSALS", 3)
    inner = Refusing()
    with open_store(inner, home=tmp_path) as store:
        for _ in range(50):
            put(store)
        asked = []
        inner.refuses = lambda key: key.startswith(keys.PACKS) and not asked.append(key)
        with pytest.raises(PermissionDeniedError, match="were deleted: 0, refused: 4 "):
            collect(store, grace=0)
        assert len(asked) < 50


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_collector_that_dies_at_any_step_leaves_a_store_that_is_right(work, tmp_path, after):
    """And the next one finishes its work."""
    deaths = Deaths()
    steps = died = 0
    while True:
        inner = MemoryBackend()
        with open_store(Moody(inner, deaths), home=tmp_path / f"home-{steps}") as store:
            capture(store, work, "exp", "tag")
            for number in range(3):
                put(store, tree=number == 1)
            guard.create_pin(store, frozenset([put(store)]))
            needed = packs_of(store, versions.resolve(store, "exp/tag"))
            deaths.arm(steps, after=after)
            try:
                collect(store, grace=0)
            except KilledError:
                died += 1
            else:
                deaths.disarm()
                break
            deaths.disarm()
            assert packs(store) >= needed
            collect(store, grace=0)
            assert packs(store) == needed
            assert objects(store) - objects(store, keys.PACKS, keys.TREES, keys.GC, keys.VERSIONS) == {keys.FORMAT}
            assert len(objects(store, keys.GC)) == 1
            assert pulled(store, "exp/tag", tmp_path / "out" / f"{steps}") == snapshot(work)
        steps += 1
    assert died > 15


def test_a_list_that_another_collector_published_meanwhile_keeps_its_number(store, inner, monkeypatch):
    put(store)
    create = MemoryBackend.create

    def beaten(self, key, parts):
        if key == keys.condemned_list(1) and parts != [b"other"]:
            create(self, key, [collection.encode([PackId.random()])])
        create(self, key, parts)

    monkeypatch.setattr(MemoryBackend, "create", beaten)
    collect(store, grace=0)
    assert objects(store, keys.GC) == {keys.condemned_list(1), keys.condemned_list(2)}
    assert packs(store) == set()


def test_long_lists_are_published_in_parts(store, monkeypatch):
    monkeypatch.setattr(collecting, "LIST_LENGTH", 2)
    condemned = {put(store) for _ in range(5)}
    collect(store, grace=0)
    lists = [guard.read_list(store, key) for key in objects(store, keys.GC)]
    assert sorted(map(len, lists)) == [1, 2, 2]
    assert frozenset().union(*lists) == condemned


def test_where_a_list_is_missing_all_is_published_again(store):
    condemned = put(store)
    guard.create_pin(store, frozenset([condemned]))
    for number in (1, 3):
        store.backend.create(keys.condemned_list(number), [collection.encode([condemned])])
    collect(store, grace=0)
    assert guard.read_list(store, keys.condemned_list(4)) == {condemned}


def test_another_pack_deleted_by_somebody_else_is_no_error_and_not_counted(store, inner, monkeypatch):
    gone, ours = put(store), put(store)
    publish = collecting._Collector._publish

    def beaten(self):
        publish(self)
        inner.delete(keys.pack(gone))

    monkeypatch.setattr(collecting._Collector, "_publish", beaten)
    assert collect(store, grace=0).data.objects == 1
    assert ours not in packs(store)


def test_what_was_deleted_is_forgotten_here_and_stored_anew(store, work, tmp_path):
    first = capture(store, work, "exp", "tag")
    remove(store, "exp/tag")
    collect(store, grace=0)
    change(work, "new")
    with pytest.raises(NotFoundError):
        versions.resolve(store, "exp/tag")
    again = capture(store, work, "exp", "tag")
    assert again.bytes_stored >= first.bytes_stored
    assert pulled(store, "exp/tag", tmp_path / "out") == snapshot(work)


def test_a_month_old_catalog_of_another_machine_is_noticed(store, work, tmp_path):
    with open_store(store.backend, home=tmp_path / "asleep") as asleep:
        capture(asleep, work, "exp", "tag")
        remove(store, "exp/tag")
        for _ in range(3):
            put(store)
            collect(store, grace=0)
        capture(asleep, work, "other", "tag")
    assert pulled(store, "other/tag", tmp_path / "out") == snapshot(work)


def test_records_that_have_not_changed_are_read_once(inner, store, work, clock, tmp_path):
    for number in range(20):
        change(work, size=1000 + number)
        capture(store, work, "exp", "tag")
    clock.now += 3600
    put(store)
    with open_store(Metered(inner), home=tmp_path / "collector") as collector:
        before = collector.backend.counts
        collect(collector, grace=0)
        counts = collector.backend.counts.since(before)
    assert counts.read == 20 + 1  # the list, so that the catalog knows it
    assert counts.delete == 2
    assert counts.create == 2


def test_a_version_that_was_removed_and_made_anew_between_the_two_looks_is_read_again(store, work, clock, monkeypatch):
    """Under the same key, and with the same size."""
    capture(store, work, "exp", "tag")
    key = keys.version("exp", "tag", 1)
    clock.now += 3600
    stray = put(store)
    publish = collecting._Collector._publish
    looked = []

    def published(self):
        publish(self)
        record = bytes(store.backend.read(key))
        store.backend.delete(key)
        store.backend.create(key, [record])

    monkeypatch.setattr(collecting._Collector, "_publish", published)
    read = versions.read
    monkeypatch.setattr(versions, "read", lambda *arguments: looked.append(arguments) or read(*arguments))
    collect(store, grace=0)
    assert len(looked) == 2
    assert stray not in packs(store)


def test_nothing_is_deleted_because_somebody_condemned_it(store, work, tmp_path):
    """Whoever may create can put a list there; versions are looked at all the same."""
    version = capture(store, work, "exp", "tag").version
    store.backend.create(keys.condemned_list(1), [collection.encode(packs_of(store, version))])
    assert collect(store, grace=0).data == Amount()
    assert pulled(store, "exp/tag", tmp_path / "out") == snapshot(work)
