"""Collectors that are refused, die, or run beside each other and beside captures."""

from __future__ import annotations

import pytest
from tests.reliability.folders import snapshot
from tests.store.garbage import change, objects, packs, pulled, put, remove

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.metered import Metered
from studio_cas.errors import NotFoundError, PermissionDeniedError
from studio_cas.formats import collection, keys
from studio_cas.ids import PackId
from studio_cas.store import collecting, guard, versions
from studio_cas.store.collecting import collect
from studio_cas.store.deleting import Amount
from studio_cas.store.reachability import packs_of
from studio_cas.store.store import open_store
from studio_cas.testing.moody_backend import Deaths, KilledError, Moody
from studio_cas.worktree.capture import capture


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
