"""The real collector beside real captures, in the orders of requests that are dangerous.

A version that was acknowledged never names a pack that is gone; and where a step of the protocol is left out, the same
orders find one that does: so they are the right orders.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.turns import Turning, Turns, finishing

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.spooling import Spooling
from studio_cas.errors import TransientError
from studio_cas.formats import keys
from studio_cas.moving.copying import copy_version
from studio_cas.store import collecting, guard, reachability
from studio_cas.store.catalog import Catalog
from studio_cas.store.collecting import collect
from studio_cas.store.reachability import packs_of
from studio_cas.store.spool_folder import spool_folder
from studio_cas.store.spooled import RULES, open_with
from studio_cas.store.store import Store, open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import read
from studio_cas.testing.moody_backend import Moody
from studio_cas.worktree.capture import capture
from studio_cas.worktree.remembered import learn

WRITER_STEPS = 9
COLLECTOR_STEPS = 12


class World:
    """A store with one version, exp/tag@1, of the folder `work`; each `play` begins with a copy of it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.work = base / "work"
        self.work.mkdir()
        (self.work / "data").write_bytes(os.urandom(100_000))
        self.start = MemoryBackend()
        with open_store(self.start, home=base / "first") as store:
            self.first = capture(store, self.work, "exp", "tag").version
            self.config = store.config
            stray = open_store(self.start, home=base / "second")
        with stray:
            (base / "stray").write_bytes(b"what nobody needs" * 1000)
            self.stray = capture(stray, base / "stray", "gone", "tag").version
        self.start.delete(keys.version("gone", "tag", 1))
        (self.work / "more").write_bytes(b"more" * 3000)
        self.source = open_store(MemoryBackend(), home=base / "third")
        with self.source:
            self.elsewhere = capture(self.source, self.work, "exp", "tag").version
        self._homes = count()

    def open(self, inner, turns, name, *, knowing=()):
        """The store as an actor sees it, whose machine knows where the chunks of some versions lie."""
        backend = Turning(inner, turns, name) if turns else inner
        store = Store(backend, self.config, self.base / f"home-{next(self._homes)}")
        store.catalog = Catalog(Path("/dev/null/none"))  # in memory
        for version in knowing:
            for _, leaf in TreeReader(Store(inner, self.config, self.base / "none"), version).leaves():
                learn(store, leaf, frozenset())
        return store

    def copy(self):
        inner = MemoryBackend()
        for found in self.start.list(""):
            inner.create(found.key, [self.start.read(found.key)])
        return inner

    def play(self, script, *, artifacts, collectors=("collector",), early=False):
        """Captures of `work` to `artifacts` beside collectors; whether everything that was acknowledged is whole.

        A person removes the first version: before everybody else comes with `early`, else when it is his turn.
        """
        inner, turns, opened = self.copy(), Turns(), []

        def opens(name, *, alone=False, knowing=()):
            opened.append(self.open(inner, None if alone else turns, name, knowing=knowing))
            return opened[-1]

        if early:
            remove(opens("person", alone=True))
        with finishing(turns):
            for artifact in artifacts:
                turns.add(artifact, partial(self._write, opens(artifact, knowing=[self.first]), artifact))
            for name in collectors:
                turns.add(name, partial(collect, opens(name), grace=0))
            if not early:
                turns.add("person", partial(remove, opens("person")))
            turns.play(script)
        for store in opened:
            store.catalog.close()
        return self._is_whole(inner, turns, artifacts)

    def send(self, script):
        """What was captured while the store was away goes up beside a collector; whether what counts is whole."""
        inner, turns = self.copy(), Turns()
        away = Moody(Turning(inner, turns, "sender"))
        now = [1000.0]
        home = self.base / f"home-{next(self._homes)}"
        spool = Spooling(away, spool_folder(home, away.url), rules=RULES, clock=lambda: now[0], jitter=lambda: 1.0)
        collector = self.open(inner, turns, "collector")
        with open_with(spool, home) as sender, finishing(turns):
            for _, leaf in TreeReader(Store(inner, self.config, self.base / "none"), self.first).leaves():
                learn(sender, leaf, frozenset())
            away.error = TransientError("connection refused")
            made = capture(sender, self.work, "new", "tag").version
            away.error, now[0] = None, now[0] + 61
            remove(Store(inner, self.config, self.base / "none"))
            turns.add("sender", sender.drainer.step)
            turns.add("collector", partial(collect, collector, grace=0))
            turns.play(script)
            collector.catalog.close()
            state = sender.state()
            assert state.objects == 0, state
            turns.results["new/tag"] = made
            return bool(state.aside) or self._is_whole(inner, turns, ["new/tag"])

    def copy_in(self, script):
        """A version of another store is copied to this one, which has its data, beside a collector."""
        inner, turns = self.copy(), Turns()
        remove(Store(inner, self.config, self.base / "none"))
        target = self.open(inner, turns, "copier", knowing=[self.first])
        collector = self.open(inner, turns, "collector")
        source = Store(self.source.backend, self.source.config, self.base / f"home-{next(self._homes)}")
        with finishing(turns):
            turns.add("copier", partial(copy_version, source, target, self.elsewhere))
            turns.add("collector", partial(collect, collector, grace=0))
            turns.play(script)
        for store in (target, collector):
            store.catalog.close()
        copied = turns.results["copier"]
        assert not isinstance(copied, BaseException), f"{copied!r} after {turns.order}"
        plain = Store(inner, self.config, self.base / "none")
        turns.results["new/tag"] = read(plain, "exp", "tag", copied.number)
        return self._is_whole(inner, turns, ["new/tag"])

    def _write(self, store, artifact):
        return capture(store, self.work, *artifact.split("/")).version

    def _is_whole(self, inner, turns, artifacts):
        """Whether the packs of all versions that were acknowledged are there."""
        there = {keys.pack_id_of(found.key) for kind in (keys.PACKS, keys.TREES) for found in inner.list(kind)}
        whole = True
        for name, result in turns.results.items():
            if isinstance(result, TransientError) and "3 times" in str(result):
                continue  # it gave up, and said so
            assert not isinstance(result, BaseException), f"{name}: {result!r} after {turns.order}"
            if name in artifacts:
                whole = whole and packs_of(Store(inner, self.config, self.base / "none"), result) <= there
        return whole


def remove(store):
    """What a person does who needs the first version no more."""
    store.backend.delete(keys.version("exp", "tag", 1))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    memory = Path("/dev/shm")  # where there is one: each run syncs its spool to the disk
    if not os.access(memory, os.W_OK):
        yield World(tmp_path_factory.mktemp("world"))
        return
    with TemporaryDirectory(prefix="world-", dir=memory) as folder:
        yield World(Path(folder))


def crossings(first, second, steps, others):
    """One goes so many steps, the other so many, the first to its end, the other to its end."""
    for at in range(steps):
        for then in range(1, others):
            yield [first] * at + [second] * then + [first] * 40


def stitches(writer):
    """The collector marks, the writer goes so many steps, the collector so many, the writer to its end."""
    for marked in (5, 6):
        for at in range(1, WRITER_STEPS):
            for then in range(1, 6):
                yield ["collector"] * marked + [writer] * at + ["collector"] * then + [writer] * 40


ADOPTING = {"artifacts": ("new/tag",), "early": True}  # the data of a version that was removed
FOLLOWING = {"artifacts": ("exp/tag",)}  # the next version of one that is removed meanwhile


def adopting():
    yield from crossings("new/tag", "collector", WRITER_STEPS, COLLECTOR_STEPS)
    yield from stitches("new/tag")


def following():
    """The person removes the version before the collector looks, or between its two looks."""
    for at in range(1, WRITER_STEPS):
        for then in range(1, COLLECTOR_STEPS):
            yield ["exp/tag"] * at + ["person"] + ["collector"] * then + ["exp/tag"] * 40


def test_a_capture_that_adopts_what_is_collected_loses_nothing(world):
    assert {world.play(script, **ADOPTING) for script in adopting()} == {True}


def test_nor_does_a_copy_from_another_store(world):
    scripts = [*crossings("copier", "collector", WRITER_STEPS, COLLECTOR_STEPS), *stitches("copier")]
    assert {world.copy_in(script) for script in scripts} == {True}


def test_nor_does_one_whose_parent_is_removed(world):
    assert {world.play(script, **FOLLOWING) for script in following()} == {True}


def sending():
    yield from crossings("sender", "collector", WRITER_STEPS, COLLECTOR_STEPS)
    yield from stitches("sender")


def test_what_waited_on_a_machine_and_goes_up_hours_later_loses_nothing(world):
    assert {world.send(script) for script in sending()} == {True}


def test_whoever_sends_what_waited_relies_on_pins_being_listed_first(world, monkeypatch):
    """Versions first, then pins, is what the model found unsafe."""

    def versions_first(self, unpinned=frozenset()):
        pins, self._look_at_pins = self._look_at_pins, lambda _unpinned: None
        look(self, unpinned)
        self._look_at_pins = pins
        pins(unpinned)

    look = reachability.Reachability.look
    monkeypatch.setattr(reachability.Reachability, "look", versions_first)
    assert False in (world.send(script) for script in sending())


@pytest.mark.parametrize("left_out", ["the second look of the collector", "the list", "the looks of the writer"])
def test_each_step_is_needed(world, monkeypatch, left_out):
    if left_out == "the second look of the collector":
        look, looked = reachability.Reachability.look, set()

        def once(self, unpinned=frozenset()):
            if id(self) not in looked:
                looked.add(id(self))
                look(self, unpinned)

        monkeypatch.setattr(reachability.Reachability, "look", once)
    elif left_out == "the list":
        monkeypatch.setattr(collecting._Collector, "_publish", lambda self: None)
    else:
        monkeypatch.setattr(guard, "condemned", lambda store, packs, catalog=None: frozenset())
    assert False in (world.play(script, **ADOPTING) for script in adopting())
    if left_out == "the looks of the writer":
        monkeypatch.setattr(guard, "missing", lambda store, packs: frozenset())  # a copy looks for packs besides
        assert False in (world.copy_in(script) for script in stitches("copier"))
        assert False in (world.play(script, **FOLLOWING) for script in following())


ACTORS = ["new/tag", "other/tag", "collector", "second", "person"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(ACTORS), max_size=70))
def test_two_writers_and_two_collectors_in_any_order(world, script):
    found = world.play(script, artifacts=("new/tag", "other/tag"), collectors=("collector", "second"))
    assert found
