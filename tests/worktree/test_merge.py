"""Small packs of earlier versions are merged: every version stays what it was, and the newest lies in few packs."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, rule
from tests.reliability.folders import fill, snapshot
from tests.worktree.test_state_machine import TAGS, Machine

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.metered import Metered
from studio_cas.errors import CorruptError, TransientError
from studio_cas.formats import keys, leaf, root
from studio_cas.store.merging import NEVER, Policy
from studio_cas.store.recent import RecentPacks
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import list_versions, resolve
from studio_cas.worktree import statcache, state_writer
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

EAGER = Policy(small=1 << 20, full=600_000, many=3, few=2, age=0, spare=2)
MANY = 4
LAZY = Policy(many=MANY)
NOTHING = RecentPacks(limit=0)
"""Merging reads the store, as that of a process that made none of the packs."""


def packs_of(store, version):
    """The data packs and the tree packs that a version names."""
    return {*TreeReader(store, version).root.packs}, {*version.tree_packs}


def add_file(work, number):
    (work / f"{number}.bin").write_bytes(random.Random(number).randbytes(5000))


def grow(work, number):
    """A log gets 20 KB more, and a file is added."""
    with (work / "train.log").open("a") as file:
        for line in range(500):
            file.write(f"step {number} {line} loss {line / (number + 1):.6f} rate {number % 11 / 100:.4f}\n")
    add_file(work, number)


def versions_of(store, work, count, change=grow, **options):
    """Capture `count` changes; what the folder held each time."""
    found = {}
    for number in range(count):
        change(work, number)
        result = capture(store, work, "exp", "tag", **options)
        assert (result.created, result.stale, result.skipped) == (True, (), ())
        found[result.version.number] = snapshot(work)
    return found


def pulls(store, out, expected):
    """Every version is what was captured as it."""
    for number, content in expected.items():
        dest = out / f"pulled-{number}-{os.urandom(4).hex()}"
        materialise(store, resolve(store, f"exp/tag@{number}"), dest)
        assert snapshot(dest) == content


def collect(store):
    """Delete every pack that the newest version does not name, as if no other version were there."""
    data, trees = packs_of(store, resolve(store, "exp/tag"))
    for prefix, kept in ((keys.PACKS, data), (keys.TREES, trees)):
        for found in list(store.backend.list(prefix)):
            if keys.pack_id_of(found.key) not in kept:
                store.backend.delete(found.key)


def damage(store, pack, tmp_path):
    """Flip bits in the middle of a pack."""
    key = keys.pack(pack)
    content = bytearray(store.backend.read(key))
    content[16] ^= 255
    content[len(content) // 3] ^= 255
    store.backend.delete(key)
    store.backend.create(key, [bytes(content)])


class MergingMachine(Machine):
    """The same with merging at every occasion, beside a store without it."""

    @initialize()
    def begin(self):
        super().begin()
        self.store.merging = EAGER
        self.plain = open_store(MemoryBackend(), home=self.base / "plain")
        self.plain.merging = NEVER

    def teardown(self):
        if hasattr(self, "plain"):
            self.plain.close()
        super().teardown()

    @rule()
    def lose_the_cache(self):
        super().lose_the_cache()
        self.store.merging = EAGER

    @rule(tag=TAGS)
    def capture(self, tag):
        super().capture(tag)
        mine = resolve(self.store, f"exp/{tag}")
        other = capture(self.plain, self.work, "exp", tag).version
        assert mine.manifest_id == other.manifest_id
        assert len(packs_of(self.store, mine)[0]) <= EAGER.many + 4 * mine.size / (32 << 20) + EAGER.spare + 8


TestMergingMachine = MergingMachine.TestCase
TestMergingMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_a_log_of_many_versions_lies_in_few_packs_and_all_versions_come_back(store, work, out):
    store.merging = LAZY
    expected = versions_of(store, fill(work), 40)
    newest = resolve(store, "exp/tag")
    assert len(packs_of(store, newest)[0]) <= 2 * MANY
    pulls(store, out, {number: expected[number] for number in (1, 2, 5, 17, 39, 40)})


def test_without_merging_each_version_leaves_a_pack(store, work):
    store.merging = NEVER
    versions_of(store, work, 12, add_file)
    assert len(packs_of(store, resolve(store, "exp/tag"))[0]) == 12


@pytest.mark.own_store
def test_what_was_merged_away_is_not_needed_by_the_newest_version(store, work, out):
    store.merging = LAZY
    expected = versions_of(store, fill(work), 30)
    collect(store)
    pulls(store, out, {30: expected[30]})


@pytest.mark.own_store
def test_later_captures_use_the_new_places(store, work, out):
    store.merging = LAZY
    data = random.Random(3).randbytes(200_000)
    (work / "data").write_bytes(data)
    versions_of(store, work, 20, add_file)
    collect(store)
    (work / "copy").write_bytes(data)
    result = capture(store, work, "exp", "tag")
    assert result.bytes_stored < 100_000
    pulls(store, out, {21: snapshot(work)})


def test_small_chunks_are_put_together_as_in_a_first_capture(tmp_path, store, work):
    """Lines that came one by one take hardly more room than the same lines at once."""
    store.merging = replace(LAZY, many=8)
    (work / "train.log").write_bytes(b"begin\n" * 2000)
    versions_of(store, work, 64)
    newest = resolve(store, "exp/tag")
    with open_store(MemoryBackend(), home=tmp_path / "other") as other:
        first = capture(other, work, "exp", "tag").version
        fresh = sum(other.backend.stat(keys.pack(pack)).size for pack in packs_of(other, first)[0])
    used = {}
    for _, found in TreeReader(store, newest).leaves():
        for pack, size in found.packs().items():
            used[pack] = used.get(pack, 0) + size
    assert sum(used.values()) <= 1.3 * fresh
    assert newest.manifest_id == first.manifest_id


@pytest.mark.own_store
def test_tree_packs_are_merged_as_well(store, work, out, monkeypatch):
    monkeypatch.setattr(leaf, "ENTRY_LIMIT", 4)
    monkeypatch.setattr(root, "INLINE_LIMIT", 300)
    for number in range(120):
        (work / f"{number:03}").write_bytes(b"%d" % number)
    store.merging = LAZY
    expected = versions_of(store, work, 40, lambda work, number: (work / f"{number * 3:03}").write_bytes(b"new"))
    assert len(packs_of(store, resolve(store, "exp/tag"))[1]) <= 2 * MANY
    assert not any(store.backend.list(keys.PACKS))
    pulls(store, out, {number: expected[number] for number in (1, 20, 40)})
    collect(store)
    pulls(store, out, {40: expected[40]})


def test_leaves_of_a_large_tree_that_name_no_merged_pack_stay_where_they_are(store, work, out, monkeypatch):
    monkeypatch.setattr(leaf, "ENTRY_LIMIT", 4)
    monkeypatch.setattr(root, "INLINE_LIMIT", 300)
    for number in range(120):
        (work / f"{number:03}").write_bytes(random.Random(number).randbytes(3000))
    store.merging = Policy(many=MANY, small=100_000)
    first = capture(store, work, "exp", "tag").version
    expected = versions_of(store, work, 12, lambda work, _: (work / "060").write_bytes(os.urandom(3000)))
    before, after = (TreeReader(store, found).root.leaves for found in (first, resolve(store, "exp/tag")))
    assert sum(old.place == new.place for old, new in zip(before, after, strict=True)) == 29
    pulls(store, out, {number: expected[number] for number in (2, 7, 13)})


def test_a_cycle_in_which_nothing_is_merged_costs_no_request_more(tmp_path, work):
    counts = []
    for name, policy in (("with", Policy()), ("without", NEVER)):
        backend = Metered(MemoryBackend())
        with open_store(backend, home=tmp_path / name) as store:
            store.merging = policy
            (work / "train.log").unlink(missing_ok=True)
            versions_of(store, work, 5)
            capture(store, work, "exp", "tag")
            counts.append(replace(backend.counts, bytes_in=0, bytes_out=0))
    assert counts[0] == counts[1]


def test_a_cycle_that_merges_writes_no_object_more(tmp_path, work):
    backend = Metered(MemoryBackend())
    with open_store(backend, home=tmp_path / "home") as store:
        store.merging = LAZY
        for number in range(20):
            grow(work, number)
            before = backend.counts.create
            capture(store, work, "exp", "tag")
            assert backend.counts.create - before <= 2 + (number == 0)


def test_nothing_is_merged_where_nothing_changed_or_at_the_end_of_a_run(store, work):
    store.merging = NEVER
    versions_of(store, work, 9)
    store.merging = LAZY
    objects = [found.key for found in store.backend.list("")]
    assert not capture(store, work, "exp", "tag").created
    assert [found.key for found in store.backend.list("")] == objects
    grow(work, 9)
    capture(store, work, "exp", "tag", final=True)
    before, after = (packs_of(store, resolve(store, f"exp/tag{which}"))[0] for which in ("@9", ""))
    assert before < after


def test_packs_of_another_artifact_are_shared_and_not_copied(store, work):
    def add_file(work, number):
        (work / f"{number}.bin").write_bytes(random.Random(number).randbytes(100_000))

    store.merging = NEVER
    versions_of(store, work, 12, add_file)
    store.merging = LAZY
    shared = packs_of(store, resolve(store, "exp/tag"))[0]
    capture(store, work, "exp", "other")
    (work / "one-more").write_bytes(os.urandom(3000))
    other = capture(store, work, "exp", "other").version
    assert shared <= packs_of(store, other)[0]


def test_very_many_packs_of_another_machine_are_merged(tmp_path, store, work, out):
    store.merging = NEVER
    versions_of(store, work, 30, add_file)
    with open_store(store.backend, home=tmp_path / "elsewhere") as elsewhere:
        (work / "one-more").write_bytes(os.urandom(3000))
        version = capture(elsewhere, work, "exp", "tag").version
        assert len(packs_of(elsewhere, version)[0]) <= 2
        pulls(elsewhere, out, {31: snapshot(work)})


@pytest.mark.parametrize("how", ["flipped", "gone"])
@pytest.mark.own_store
def test_damage_that_merging_finds_is_named_and_not_spread(tmp_path, store, work, out, how):
    store.recent = NOTHING
    store.merging = NEVER
    versions_of(store, work, 9, add_file)
    (bad,) = packs_of(store, resolve(store, "exp/tag@1"))[0]
    if how == "flipped":
        damage(store, bad, tmp_path)
    else:
        store.backend.delete(keys.pack(bad))
    store.merging = LAZY
    add_file(work, 9)
    result = capture(store, work, "exp", "tag")
    assert len(result.damaged) == 1
    assert bad.hex() in result.damaged[0]
    assert bad not in packs_of(store, result.version)[0]
    pulls(store, out, {10: snapshot(work)})
    with pytest.raises(CorruptError, match=bad.hex()):
        materialise(store, resolve(store, "exp/tag@1"), out / "damaged")
    expected = versions_of(store, work, 3, lambda work, number: add_file(work, number + 10))
    assert len(packs_of(store, resolve(store, "exp/tag"))[0]) <= 4
    pulls(store, out, expected)


@pytest.mark.own_store
def test_only_the_files_in_a_damaged_pack_are_read_again(tmp_path, store, work):
    store.recent = NOTHING
    (work / "large").write_bytes(os.urandom(500_000))
    capture(store, work, "exp", "tag")
    store.merging = NEVER
    versions_of(store, work, 5, lambda work, number: (work / f"{number}.bin").write_bytes(os.urandom(5000)))
    time.sleep(0.05)  # until no time is too young to trust
    capture(store, work, "exp", "tag")
    (bad,) = packs_of(store, resolve(store, "exp/tag@3"))[0] - packs_of(store, resolve(store, "exp/tag@2"))[0]
    damage(store, bad, tmp_path)
    store.merging = replace(LAZY, small=100_000)
    (work / "new").write_bytes(os.urandom(5000))
    result = capture(store, work, "exp", "tag")
    assert len(result.damaged) == 1
    assert result.bytes_read == 10_000


def test_a_store_that_cannot_be_read_for_a_moment_only_delays_merging(tmp_path, work, out):
    class Deaf(MemoryBackend):
        deaf = False

        def read(self, key, offset=0, length=None):
            if self.deaf and key.startswith(keys.PACKS):
                raise TransientError("no answer")
            return super().read(key, offset, length)

    backend = Deaf()
    with open_store(backend, home=tmp_path / "home") as store:
        store.recent = NOTHING
        store.merging = LAZY
        versions_of(store, work, 3)
        backend.deaf = True
        expected = versions_of(store, work, 4, lambda work, number: grow(work, number + 3))
        assert len(packs_of(store, resolve(store, "exp/tag"))[0]) == 7
        backend.deaf = False
        expected |= versions_of(store, work, 1, lambda work, number: grow(work, number + 7))
        assert len(packs_of(store, resolve(store, "exp/tag"))[0]) == 1
        pulls(store, out, expected)


def test_what_this_process_made_is_merged_without_reading_the_store(tmp_path, work, out):
    class Heard(MemoryBackend):
        packs = ()

        def read(self, key, offset=0, length=None):
            if key.startswith(keys.PACKS):
                self.packs += (key,)
            return super().read(key, offset, length)

    backend = Heard()
    with open_store(backend, home=tmp_path / "home") as store:
        store.merging = LAZY
        expected = versions_of(store, work, 3 * MANY + 1)
        assert len(packs_of(store, resolve(store, "exp/tag"))[0]) <= MANY
        assert not backend.packs
        pulls(store, out, expected)
        assert backend.packs


def test_a_stat_cache_that_cannot_be_written_only_delays_merging(store, work, out, monkeypatch):
    store.merging = LAZY
    versions_of(store, work, 4)

    with monkeypatch.context() as patched:
        patched.setattr(state_writer.StateWriter, "_write", lambda self, _data: self.abandon())
        expected = versions_of(store, work, 3, lambda work, number: grow(work, number + 4))
    expected |= versions_of(store, work, 3, lambda work, number: grow(work, number + 7))
    assert len(packs_of(store, resolve(store, "exp/tag"))[0]) <= MANY
    pulls(store, out, expected)


def test_no_file_is_left_beside_the_stat_cache(store, work):
    store.merging = LAZY
    versions_of(store, work, 12)
    states = statcache.path_of(store, work).parent
    assert [path.name for path in states.iterdir()] == [statcache.path_of(store, work).name]


def test_a_single_file_is_merged_too(store, work, out):
    store.merging = LAZY
    file = work / "train.log"
    for number in range(20):
        grow(work, number)
        capture(store, file, "exp", "tag")
    newest = resolve(store, "exp/tag")
    assert len(packs_of(store, newest)[0]) <= 2 * MANY
    materialise(store, newest, out / "train.log")
    assert (out / "train.log").read_bytes() == file.read_bytes()


def test_rotating_checkpoints_cost_what_is_new(store, work, out):
    def rotate(work, number):
        (work / f"step-{number}.pt").write_bytes(random.Random(number).randbytes(1_000_000))
        (work / f"step-{number - 3}.pt").unlink(missing_ok=True)

    store.merging = Policy(small=500_000)
    versions_of(store, work, 4, rotate)
    for number in range(4, 10):
        rotate(work, number)
        result = capture(store, work, "exp", "tag")
        assert 1_000_000 <= result.bytes_stored <= 1_010_000
        assert result.bytes_read <= 2_000_000  # the newest, and the one before where its time was too young to trust
    pulls(store, out, {10: snapshot(work)})


def test_a_database_that_is_written_in_place_costs_the_pieces_that_changed(store, work, out):
    store.merging = NEVER

    def write(statement, rows):
        with closing(sqlite3.connect(work / "metrics.db")) as base:
            base.executemany(statement, rows)
            base.commit()

    write("CREATE TABLE samples (id INTEGER PRIMARY KEY, value BLOB)", [()])
    write("INSERT INTO samples VALUES (?, ?)", ((number, os.urandom(900)) for number in range(8000)))
    capture(store, work, "exp", "tag")
    for number in range(3):
        write("UPDATE samples SET value = ? WHERE id = ?", [(os.urandom(900), 2000 * number + 7)])
        result = capture(store, work, "exp", "tag")
        assert result.bytes_stored <= 3 * 64 * 1024  # the page of the row, and the first page
    pulls(store, out, {4: snapshot(work)})


def test_all_versions_are_listed_and_counted_as_without_merging(store, work):
    store.merging = LAZY
    versions_of(store, work, 10)
    assert [found.number for found in list_versions(store, "exp", "tag")] == list(range(10, 0, -1))
