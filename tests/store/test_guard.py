"""Writers beside collectors, step by step: no version that was acknowledged names a pack that is gone."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import combinations_with_replacement, count
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import NotFoundError, ObjectExistsError, PermissionDeniedError, TransientError
from studio_cas.formats import collection, keys
from studio_cas.ids import PackId
from studio_cas.store import guard
from studio_cas.store.catalog import Catalog
from studio_cas.store.guard import CondemnedError
from studio_cas.store.store import open_store

OLD = PackId(bytes(16))  # lies in the store, and no version names it
ATTEMPTS = 3
STEPS = 6


class Stage(MemoryBackend):
    """A store where others act just before each call of the writer. `script`: who acts before which call, in order."""

    def __init__(self, **options):
        super().__init__(**options)
        self.actors = {}
        self.script = []
        self.calls = -1  # not begun
        self.may_delete = True

    def act(self):
        if self.calls < 0:
            return
        call, self.calls = self.calls, -1  # what the others do is not the writer's
        while self.script and self.script[0][0] <= call:
            self.move(self.script.pop(0)[1])
        self.calls = call + 1

    def move(self, name):
        next(self.actors[name], None)

    def run_out(self):
        """The others do all they have left."""
        self.calls = -1
        script, self.script = self.script, []
        for _, name in script:
            self.move(name)
        for actor in self.actors.values():
            list(actor)

    def create(self, key, parts):
        self.act()
        super().create(key, parts)

    def read(self, key, offset=0, length=None):
        self.act()
        return super().read(key, offset, length)

    def list(self, prefix, limit=None):
        self.act()
        return super().list(prefix, limit)

    def stat(self, key):
        self.act()
        return super().stat(key)

    def delete(self, key):
        self.act()
        if self.calls >= 0 and not self.may_delete:
            raise PermissionDeniedError(key)
        super().delete(key)


def named(stage, prefix):
    """The packs that the pins, or the versions, of the store name."""
    found = [collection.decode(stage.read(found.key)) for found in list(stage.list(prefix))]
    return frozenset().union(*found)


def publish(stage, packs):
    """The next condemned list."""
    for number in count(1):
        with suppress(ObjectExistsError):
            stage.create(keys.condemned_list(number), [collection.encode(packs)])
            return


def collector(stage, *, versions_first=False):
    """What docs/concurrency.md asks of a collector, a step at a time."""
    packs = {keys.pack_id_of(found.key) for found in stage.list(keys.PACKS)}
    yield
    condemned = packs - named(stage, keys.PINS) - named(stage, keys.VERSIONS)
    yield
    if condemned:
        publish(stage, condemned)
        yield
        first, second = (keys.VERSIONS, keys.PINS) if versions_first else (keys.PINS, keys.VERSIONS)
        reachable = named(stage, first)
        yield
        reachable |= named(stage, second)
        yield
        for pack in condemned - reachable:
            with suppress(NotFoundError):  # the other one was faster
                stage.delete(keys.pack(pack))


def janitor(stage):
    """Removes every pin, whenever he likes, three times at most."""
    for _ in range(3):
        for found in list(stage.list(keys.PINS)):
            stage.delete(found.key)
        yield


def put(stage):
    pack = PackId.random()
    stage.create(keys.pack(pack), [b"pack"])
    return pack


def write(stage, store, *, adopts):
    """Commit a version that needs OLD, and after each refusal one with a new pack; what was acknowledged, or None."""
    forgotten = frozenset()
    pack = OLD
    for attempt in range(ATTEMPTS):
        if pack in forgotten:
            pack = put(stage)

        def create(pack=pack, attempt=attempt):
            stage.create(f"{keys.VERSIONS}exp/tag/{attempt}", [collection.encode([pack])])
            return pack

        try:
            return guard.commit(store, [pack], frozenset([pack] if adopts and pack == OLD else []), create)
        except CondemnedError as error:
            forgotten |= error.packs
    return None


def run(script, actors, *, adopts, may_delete=True):
    """Play one script to its end; whether the pack of the acknowledged version is there."""
    stage = Stage()
    store = open_store(stage)
    store.catalog = Catalog(Path("/dev/null/none"))  # in memory
    stage.create(keys.pack(OLD), [b"old"])
    put(stage)  # nobody wants this one: every collector has something to condemn
    stage.actors = {name: make(stage) for name, make in actors.items()}
    stage.script, stage.may_delete, stage.calls = sorted(script, key=lambda step: step[0]), may_delete, 0
    acknowledged = write(stage, store, adopts=adopts)
    stage.run_out()
    store.catalog.close()
    if acknowledged is None:
        return None
    return keys.pack(acknowledged) in {found.key for found in stage.list(keys.PACKS)}


ONE = {"collector": collector}
TWO = {**ONE, "second": collector}


@pytest.mark.parametrize("adopts", [True, False], ids=["with a pin", "without"])
@pytest.mark.parametrize("may_delete", [True, False], ids=["deletes its pin", "may not"])
def test_no_step_of_a_collector_between_any_two_steps_of_a_writer_loses_a_pack(adopts, may_delete):
    outcomes = [
        run([(call, "collector") for call in calls], ONE, adopts=adopts, may_delete=may_delete)
        for calls in combinations_with_replacement(range(9), STEPS)
    ]
    assert set(outcomes) == {True}
    assert len(outcomes) == 3003


SCRIPTS = st.tuples(
    *(
        st.lists(st.integers(0, 12), min_size=STEPS, max_size=STEPS).map(
            lambda calls, name=name: [(c, name) for c in calls]
        )
        for name in ("collector", "second")
    ),
    st.lists(st.integers(0, 12).map(lambda call: (call, "janitor")), max_size=3),
).flatmap(lambda parts: st.permutations([step for part in parts for step in part]))


@settings(max_examples=600, deadline=None)
@given(SCRIPTS, st.booleans(), st.booleans())
@example([*[(0, "collector")] * 5, *[(1, "second")] * 6, (9, "collector")], True, True)
def test_two_collectors_and_a_janitor_lose_no_pack_either(script, adopts, may_delete):
    actors = {**TWO, "janitor": janitor}
    assert run(script, actors, adopts=adopts, may_delete=may_delete) is not False


def test_a_pin_that_somebody_removed_while_an_answer_was_lost_proves_nothing(monkeypatch):
    """A delete that is asked for again, after a lost answer, takes what is gone for deleted by itself."""
    delete = Stage.delete

    def forgiving(stage, key):
        with suppress(NotFoundError):
            delete(stage, key)

    monkeypatch.setattr(Stage, "delete", forgiving)
    actors = {**ONE, "janitor": janitor}
    outcomes = {
        run([(call, name) for call, name in zip(calls, order, strict=True)], actors, adopts=True)
        for calls in combinations_with_replacement(range(7), STEPS + 1)
        for order in [["collector"] * at + ["janitor"] + ["collector"] * (STEPS - at) for at in (2, 4)]
    }
    assert outcomes == {True}


@pytest.mark.parametrize("versions_first", [False, True])
def test_a_writer_that_relies_on_its_pin_needs_pins_to_be_listed_first(monkeypatch, versions_first):
    """As one does who sends what waited. Versions first, then pins, is what the model found unsafe: here as well."""
    monkeypatch.setattr(guard, "commit", partial(guard.commit, waits=lambda _made: True))
    actors = {"collector": partial(collector, versions_first=versions_first)}
    outcomes = {
        run([(call, "collector") for call in calls], actors, adopts=True)
        for calls in combinations_with_replacement(range(9), STEPS)
    }
    assert (False in outcomes) == versions_first


@pytest.mark.parametrize("simplification", ["no second look", "no look"])
def test_each_step_of_the_writer_is_needed(monkeypatch, simplification):
    if simplification == "no second look":
        monkeypatch.setattr(guard, "commit", partial(guard.commit, waits=lambda _made: True))
    else:
        monkeypatch.setattr(guard, "condemned", lambda store, packs: frozenset())
    outcomes = (  # until one is False
        run([(call, name) for call, name in zip(calls, order, strict=True)], {**ONE, "janitor": janitor}, adopts=True)
        for calls in combinations_with_replacement(range(7), STEPS + 1)
        for order in [["collector"] * at + ["janitor"] + ["collector"] * (STEPS - at) for at in range(STEPS + 1)]
    )
    assert False in outcomes


def test_every_list_counts_and_not_only_the_newest():
    stage = Stage()
    store = open_store(stage)
    older, newer = PackId.random(), PackId.random()
    publish(stage, [older])
    publish(stage, [newer])
    assert guard.condemned(store, {older, newer, OLD}) == {older, newer}
    for pack in (older, newer):
        with pytest.raises(CondemnedError) as caught:
            guard.commit(store, [pack, OLD], frozenset(), lambda: None)
        assert caught.value.packs == {pack}


def test_a_machine_reads_each_list_once(monkeypatch):
    stage = Stage()
    store = open_store(stage)
    read = []
    monkeypatch.setattr(
        guard, "read_list", lambda store, name: read.append(name) or collection.decode(stage.read(name))
    )
    publish(stage, [OLD])
    for _ in range(2):
        assert guard.condemned(store, {OLD}) == {OLD}
    newer = PackId.random()
    publish(stage, [newer])
    assert guard.condemned(store, {newer, OLD}) == {newer, OLD}
    assert read == [keys.condemned_list(1), keys.condemned_list(2)]
    store.close()
    with open_store(stage) as again:
        assert guard.condemned(again, {newer, OLD}) == {newer, OLD}
    assert len(read) == 2


def test_another_list_of_the_same_number_is_another_list():
    """The store was copied with its id, and each copy has a collector; or somebody removed the newest list."""
    clock = iter(range(1000))
    stage = Stage(clock=lambda: float(next(clock)))
    store = open_store(stage)
    publish(stage, [OLD])
    assert guard.condemned(store, {OLD}) == {OLD}
    other = PackId.random()
    stage.delete(keys.condemned_list(1))
    publish(stage, [other])
    assert guard.condemned(store, {other}) == {other}


@pytest.mark.parametrize("removed", [1, 2])
def test_where_a_list_was_removed_packs_are_looked_for(removed):
    """It may have named what a catalog from before still knows."""
    stage = Stage()
    store = open_store(stage)
    there, gone = PackId.random(), PackId.random()
    stage.create(keys.pack(there, tree=True), [b"tree"])
    for pack in (OLD, gone, OLD):
        publish(stage, [pack])
    stage.delete(keys.condemned_list(removed))
    with open_store(stage, home=store.home / "another") as other:
        assert guard.condemned(other, {there, gone}) == {gone}
        with pytest.raises(CondemnedError):
            guard.commit(other, [gone], frozenset(), lambda: None)


def test_what_is_no_list_is_none():
    stage = Stage()
    store = open_store(stage)
    stage.create(f"{keys.GC}README", [b"not ours"])
    assert guard.condemned(store, {OLD}) == frozenset()


def test_lists_that_never_hold_still_are_an_error_that_may_pass(monkeypatch):
    stage = Stage()
    store = open_store(stage)
    publish(stage, [OLD])

    def gone(key, offset=0, length=None):
        raise NotFoundError(key)

    monkeypatch.setattr(stage, "read", gone)
    with pytest.raises(TransientError, match="5 times"):
        guard.condemned(store, {OLD})


def test_a_version_that_was_refused_before_it_was_made_is_never_made():
    stage = Stage()
    store = open_store(stage)
    publish(stage, [OLD])
    with pytest.raises(CondemnedError):
        guard.commit(store, [OLD], frozenset([OLD]), lambda: pytest.fail("it was made"))


def test_a_pin_names_what_is_adopted_and_is_gone_afterwards():
    stage = Stage()
    store = open_store(stage)
    own = PackId.random()
    seen = []
    guard.commit(store, [OLD, own], frozenset([OLD]), lambda: seen.append(named(stage, keys.PINS)))
    assert seen == [{OLD}]
    assert not list(stage.list(keys.PINS))
