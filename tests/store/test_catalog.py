"""The catalog forgets rather than fails, and a file that is wrong is made anew."""

from __future__ import annotations

import os
import sqlite3
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from studio_cas.formats.leaf import Place
from studio_cas.ids import PackId, digest
from studio_cas.store.catalog import Catalog

IDS = [digest(bytes([number])) for number in range(12)]
PACKS = [PackId(bytes([number]) * 16) for number in range(4)]


def place(pack, number=0):
    return Place(pack, 16 + number, 5, 9, number, 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "catalog.sqlite"


@pytest.fixture
def catalog(path):
    made = Catalog(path)
    yield made
    made.close()


def test_what_was_learnt_is_known_to_the_next_process(catalog, path):
    catalog.add(PACKS[0], [(IDS[0], place(PACKS[0])), (IDS[1], place(PACKS[0], 1))])
    other = Catalog(path)
    assert other.lookup(IDS) == {IDS[0]: place(PACKS[0]), IDS[1]: place(PACKS[0], 1)}
    assert other.knows_pack(PACKS[0])
    assert not other.knows_pack(PACKS[1])
    other.close()


def test_the_newest_place_of_a_chunk_wins(catalog):
    for pack in PACKS:
        catalog.add(pack, [(IDS[0], place(pack))])
    assert catalog.lookup([IDS[0]]) == {IDS[0]: place(PACKS[-1])}


def test_a_forgotten_pack_is_not_known(catalog):
    for pack in PACKS:
        catalog.add(pack, [(IDS[pack[0]], place(pack))])
    catalog.forget([PACKS[1], PACKS[2], PackId(b"x" * 16)])
    assert set(catalog.lookup(IDS)) == {IDS[0], IDS[3]}
    assert not catalog.knows_pack(PACKS[1])


def test_many_are_looked_up_at_once(catalog):
    many = [digest(b"%d" % number) for number in range(3000)]
    catalog.add(PACKS[0], [(one, place(PACKS[0])) for one in many[::2]])
    assert set(catalog.lookup(many)) == set(many[::2])


def test_hooks_are_remembered_by_run(catalog):
    catalog.add_hooks("hooks/1", [(IDS[0], PACKS[0]), (IDS[0], PACKS[1]), (IDS[1], PACKS[2])])
    assert catalog.unseen(["hooks/1", "hooks/2"]) == ["hooks/2"]
    assert catalog.hooked([IDS[0]]) == {PACKS[0], PACKS[1]}
    assert catalog.hooked([IDS[5]]) == set()


DAMAGE = {
    "noise": lambda path: path.write_bytes(os.urandom(20_000)),
    "text": lambda path: path.write_text("this is no database " * 50),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "another schema": lambda path: path.write_bytes(path.read_bytes().replace(b"chunks", b"chunkz")),
    "overwritten pages": lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(9000)),
}


def filled(path):
    made = Catalog(path)
    for pack in PACKS:
        made.add(pack, [(digest(pack + b"%d" % number), place(pack, number)) for number in range(200)])
    made.close()


def use(catalog):
    """Everything that can be asked and told."""
    catalog.lookup(IDS)
    catalog.hooked(IDS)
    catalog.unseen(["a"])
    catalog.knows_pack(PACKS[0])
    catalog.add(PACKS[0], [(IDS[0], place(PACKS[0]))])
    catalog.add_hooks("a", [(IDS[0], PACKS[0])])
    catalog.forget([PACKS[1]])


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_anew_and_nothing_fails(path, damage):
    filled(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    DAMAGE[damage](path)
    for _ in range(3):  # the first may go on in memory, and leaves it to the next to make the file
        catalog = Catalog(path)
        use(catalog)
        catalog.close()
    catalog = Catalog(path)
    assert catalog.lookup([IDS[0]]) == {IDS[0]: place(PACKS[0])}
    catalog.close()


def test_a_file_that_is_damaged_while_it_is_open_stops_nothing(path):
    filled(path)
    catalog = Catalog(path)
    data = path.read_bytes()
    path.write_bytes(data[:100] + os.urandom(len(data) - 100))
    use(catalog)
    use(catalog)
    assert catalog.lookup([IDS[0]]) in ({}, {IDS[0]: place(PACKS[0])})
    catalog.close()


def test_a_folder_in_its_place_leaves_it_in_memory(path):
    path.mkdir(parents=True)
    catalog = Catalog(path)
    use(catalog)
    assert catalog.lookup([IDS[0]]) == {IDS[0]: place(PACKS[0])}
    catalog.close()
    assert path.is_dir()


def test_another_process_that_holds_the_file_makes_it_forget_and_not_fail(path, monkeypatch):
    monkeypatch.setattr("studio_cas.store.catalog.BUSY_SECONDS", 0)
    filled(path)
    catalog = Catalog(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    catalog.add(PACKS[0], [(IDS[0], place(PACKS[0]))])
    assert catalog.lookup([IDS[0]]) == {}
    holder.execute("ROLLBACK")
    holder.close()
    catalog.add(PACKS[0], [(IDS[0], place(PACKS[0]))])
    assert catalog.lookup([IDS[0]]) == {IDS[0]: place(PACKS[0])}
    catalog.close()


def test_several_threads_learn_and_ask_at_once(catalog):
    failures = []

    def work(seed):
        try:
            for number in range(40):
                pack = PackId(bytes([seed, number]).ljust(16))
                catalog.add(pack, [(digest(pack), place(pack))])
                assert catalog.lookup([digest(pack)]) == {digest(pack): place(pack)}
        except BaseException as error:  # noqa: BLE001 (told by the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class Machine(RuleBasedStateMachine):
    """The catalog beside a dict."""

    def __init__(self):
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "catalog.sqlite"
        self.catalog = Catalog(self.path)
        self.known = {}

    def teardown(self):
        self.catalog.close()
        self.folder.cleanup()

    @rule(pack=st.sampled_from(PACKS), ids=st.lists(st.sampled_from(IDS), max_size=4, unique=True))
    def add(self, pack, ids):
        rows = [(one, place(pack, number)) for number, one in enumerate(ids)]
        self.catalog.add(pack, rows)
        self.known.update(rows)

    @rule(packs=st.sets(st.sampled_from(PACKS)))
    def forget(self, packs):
        self.catalog.forget(packs)
        self.known = {one: lying for one, lying in self.known.items() if lying.pack not in packs}

    @rule()
    def open_again(self):
        self.catalog.close()
        self.catalog = Catalog(self.path)

    @rule(ids=st.lists(st.sampled_from(IDS)))
    def lookup(self, ids):
        assert self.catalog.lookup(ids) == {one: self.known[one] for one in ids if one in self.known}


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)


def test_what_a_condemned_list_names_is_known_as_condemned_and_for_nothing_else(catalog, path):
    for pack in PACKS[:2]:
        catalog.add(pack, [(IDS[pack[0]], place(pack))])
        catalog.add_hooks("run", [(IDS[pack[0]], pack)])
    assert catalog.condemned(["gc/1"], PACKS) == (["gc/1"], set())
    catalog.add_condemned("gc/1", PACKS[1:3])
    catalog.forget_condemned()
    other = Catalog(path)
    for one in (catalog, other):
        assert one.condemned(["gc/2", "gc/1"], PACKS) == (["gc/2"], set(PACKS[1:3]))
        assert set(one.lookup(IDS)) == {IDS[0]}
        assert one.hooked(IDS) == {PACKS[0]}
        one.add(PACKS[1], [(IDS[1], place(PACKS[1]))])
        assert set(one.lookup(IDS)) == {IDS[0]}
    other.close()


def test_a_catalog_that_was_thrown_away_knows_no_list(catalog, path):
    catalog.add_condemned("gc/1", PACKS)
    catalog.close()
    path.write_bytes(b"no database" * 1000)
    other = Catalog(path)
    assert other.condemned(["gc/1"], PACKS) == (["gc/1"], set())
    other.close()


def test_acknowledged_versions_are_known_by_their_writers_and_the_newest_replaces_earlier_ones(catalog):
    catalog.acknowledge("versions/e/t/08", "a")
    catalog.acknowledge("versions/e/t/07", "b")
    catalog.acknowledge("versions/e/t-2/08", "c")
    catalog.acknowledge("versions/e/u/08", "d")
    assert catalog.is_acknowledged("versions/e/t/08", "a")
    assert not catalog.is_acknowledged("versions/e/t/08", "b")
    catalog.acknowledge("versions/e/t/06", "e", newest=True)
    assert not catalog.is_acknowledged("versions/e/t/08", "a")
    assert not catalog.is_acknowledged("versions/e/t/07", "b")
    for key, writer in (("versions/e/t/06", "e"), ("versions/e/t-2/08", "c"), ("versions/e/u/08", "d")):
        assert catalog.is_acknowledged(key, writer)
