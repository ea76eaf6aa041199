"""Packs on condemned lists: no version that was acknowledged names one, and the next capture stores anew."""

from __future__ import annotations

import os

import pytest

from studio_cas.backends.metered import Metered
from studio_cas.errors import TransientError
from studio_cas.formats import collection, keys
from studio_cas.store import guard
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import list_versions
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

FIRST = keys.condemned_list(1)


def packs_of(store, version):
    return {*TreeReader(store, version).root.packs, *version.tree_packs}


def write(path, size):
    path.write_bytes(os.urandom(size))
    os.utime(path, ns=(10**18, 10**18))


def condemn(store, packs, key=FIRST):
    store.backend.create(key, [collection.encode(packs)])


def delete(store, packs):
    for pack in packs:
        store.backend.delete(keys.pack(pack))


@pytest.fixture
def first(store, work):
    """A version with a large file and a small one."""
    write(work / "large", 300_000)
    write(work / "small", 5000)
    return capture(store, work, "exp", "tag").version


@pytest.mark.own_store
def test_packs_of_the_parent_that_are_condemned_are_not_used_again(store, work, out, first):
    condemned = packs_of(store, first)
    condemn(store, condemned)
    write(work / "small", 6000)
    result = capture(store, work, "exp", "tag")
    assert result.created
    assert not packs_of(store, result.version) & condemned
    delete(store, condemned)
    materialise(store, result.version, out / "pulled")
    assert (out / "pulled" / "large").read_bytes() == (work / "large").read_bytes()


def test_packs_of_others_that_are_condemned_are_not_adopted(store, work, out, first):
    condemned = packs_of(store, first)
    condemn(store, condemned)
    version = capture(store, work, "other", "tag").version
    assert version.manifest_id == first.manifest_id
    assert not packs_of(store, version) & condemned
    assert [found.number for found in list_versions(store, "other", "tag")] == [1]
    assert len(list(store.backend.list(keys.PINS))) <= 1  # one that stays costs nothing


@pytest.mark.own_store
@pytest.mark.parametrize("machine", ["the same", "another"])
def test_a_version_whose_writer_died_before_it_looked_is_not_taken_for_an_unchanged_one(
    store, work, out, first, tmp_path, monkeypatch, machine
):
    """Its packs were condemned before it was created, and are deleted: it was never acknowledged."""
    condemned = packs_of(store, first)
    store.backend.delete(keys.version("exp", "tag", 1))
    condemn(store, condemned)
    with monkeypatch.context() as dying:
        dying.setattr(guard, "commit_version", lambda store, packs, adopted, create, newest: create())
        assert capture(store, work, "exp", "tag").created
    delete(store, condemned)
    with open_store(store.backend, home=store.home if machine == "the same" else tmp_path / "another") as again:
        result = capture(again, work, "exp", "tag")
        assert (result.created, result.version.number) == (True, 2)
        materialise(again, result.version, out / "pulled")
        assert (out / "pulled" / "large").read_bytes() == (work / "large").read_bytes()
        assert not capture(again, work, "exp", "tag").created


@pytest.mark.own_store
def test_a_version_that_somebody_else_made_is_looked_at_once(store, work, first, tmp_path):
    with open_store(Metered(store.backend), home=tmp_path / "another") as elsewhere:
        asked = []
        for _ in range(3):
            before = elsewhere.backend.counts
            assert not capture(elsewhere, work, "exp", "tag").created
            asked.append(elsewhere.backend.counts.since(before).list)
    assert asked == [asked[-1] + 1, asked[-1], asked[-1]]


@pytest.mark.own_store
def test_packs_that_others_name_are_adopted_where_they_are_not_condemned(store, work, first):
    version = capture(store, work, "other", "tag").version
    assert packs_of(store, version) == packs_of(store, first)
    assert not list(store.backend.list(keys.PINS))


def test_a_file_in_a_pack_that_is_not_condemned_is_kept(store, work, first):
    write(work / "second", 300_000)
    second = capture(store, work, "exp", "tag").version
    condemn(store, packs_of(store, first))
    write(work / "third", 300_000)
    result = capture(store, work, "exp", "tag")
    assert packs_of(store, result.version) & packs_of(store, second)
    assert not packs_of(store, result.version) & packs_of(store, first)


def test_a_machine_that_knows_nothing_learns_no_condemned_pack_from_the_parent(store, work, first, tmp_path):
    condemned = packs_of(store, first)
    condemn(store, condemned)
    with open_store(store.backend, home=tmp_path / "another home") as elsewhere:
        write(work / "third", 300_000)
        assert not packs_of(elsewhere, capture(elsewhere, work, "exp", "tag").version) & condemned


def test_after_three_lists_that_name_what_was_just_stored_the_capture_says_so(store, work, first, monkeypatch):
    created = []
    create = type(store.backend).create

    def condemning(self, key, parts):
        create(self, key, parts)
        if key.startswith(keys.PACKS):
            created.append(keys.pack_id_of(key))
            condemn(store, created, keys.condemned_list(len(created)))

    monkeypatch.setattr(type(store.backend), "create", condemning)
    write(work / "small", 6000)
    with pytest.raises(TransientError, match="3 times"):
        capture(store, work, "exp", "tag")
