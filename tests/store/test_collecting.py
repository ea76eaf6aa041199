"""The collector deletes what nobody names, and nothing else."""

from __future__ import annotations

import os

from tests.reliability.folders import snapshot
from tests.store.garbage import DAY, change, objects, packs, pulled, put, remove

from studio_cas.backends.probe import TRIALS
from studio_cas.formats import collection, hooks, keys
from studio_cas.ids import PackId
from studio_cas.store import guard, versions
from studio_cas.store.collecting import collect
from studio_cas.store.deleting import Amount
from studio_cas.store.merging import Policy
from studio_cas.store.reachability import packs_of
from studio_cas.store.trees import TreeReader
from studio_cas.worktree.capture import capture


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
