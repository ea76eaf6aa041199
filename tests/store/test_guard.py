"""Writers beside collectors, step by step: no version that was acknowledged names a pack that is gone."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations_with_replacement

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import NotFoundError, PermissionDeniedError, TransientError
from studio_cas.formats import collection, keys
from studio_cas.ids import PackId
from studio_cas.store import guard
from studio_cas.store.guard import CondemnedError
from studio_cas.store.store import open_store

OLD = PackId(bytes(16))  # lies in the store, and no version names it
ATTEMPTS = 3
STEPS = 6


class Stage(MemoryBackend):
    """A store where others act just before each call of the writer. `script`: who acts before which call, in order."""

    def __init__(self):
        super().__init__()
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


def collector(stage, number, *, versions_first=False):
    """What docs/concurrency.md asks of a collector, a step at a time."""
    packs = {keys.pack_id_of(found.key) for found in stage.list(keys.PACKS)}
    yield
    condemned = packs - named(stage, keys.PINS) - named(stage, keys.VERSIONS)
    yield
    if condemned:
        stage.create(f"{keys.GC}{number}", [collection.encode(condemned)])
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
    stage.create(keys.pack(OLD), [b"old"])
    put(stage)  # nobody wants this one: every collector has something to condemn
    stage.actors = {name: make(stage) for name, make in actors.items()}
    stage.script, stage.may_delete, stage.calls = sorted(script, key=lambda step: step[0]), may_delete, 0
    acknowledged = write(stage, store, adopts=adopts)
    stage.run_out()
    if acknowledged is None:
        return None
    return keys.pack(acknowledged) in {found.key for found in stage.list(keys.PACKS)}


ONE = {"collector": lambda stage: collector(stage, 500)}
TWO = {**ONE, "second": lambda stage: collector(stage, 400)}  # its list is the newer one


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


@settings(max_examples=1500, deadline=None)
@given(SCRIPTS, st.booleans(), st.booleans())
@example([*[(0, "collector")] * 5, *[(1, "second")] * 6, (9, "collector")], True, True)
def test_two_collectors_and_a_janitor_lose_no_pack_either(script, adopts, may_delete):
    actors = {**TWO, "janitor": janitor}
    assert run(script, actors, adopts=adopts, may_delete=may_delete) is not False


def test_this_stage_shows_a_protocol_that_loses_data():
    """Versions first, then pins, is what the model checker found unsafe: here it is unsafe as well."""
    actors = {"collector": lambda stage: collector(stage, 500, versions_first=True)}
    outcomes = (  # until one is False
        run([(call, "collector") for call in calls], actors, adopts=True)
        for calls in combinations_with_replacement(range(9), STEPS)
    )
    assert False in outcomes


@pytest.mark.parametrize("simplification", ["no pin", "no second look", "no first look"])
def test_each_step_of_the_writer_is_needed(monkeypatch, simplification):
    if simplification == "no pin":
        monkeypatch.setattr(guard, "create_pin", lambda store, packs: "pins/none")
        monkeypatch.setattr(guard, "remove_pin", lambda store, key: True)
    elif simplification == "no second look":
        monkeypatch.setattr(guard, "remove_pin", lambda store, key: True)
    else:
        monkeypatch.setattr(guard, "condemned", lambda store: frozenset())
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
    stage.create(f"{keys.GC}500", [collection.encode([older])])
    stage.create(f"{keys.GC}400", [collection.encode([newer])])
    assert guard.condemned(store) == {older, newer}
    for pack in (older, newer):
        with pytest.raises(CondemnedError) as caught:
            guard.commit(store, [pack, OLD], frozenset(), lambda: None)
        assert caught.value.packs == {pack}


def test_a_list_that_is_merged_while_it_is_read_is_not_missed():
    stage = Stage()
    store = open_store(stage)
    stage.create(f"{keys.GC}500", [collection.encode([OLD])])

    def merge():
        yield  # before the list call
        stage.create(f"{keys.GC}400", [collection.encode([OLD])])
        stage.delete(f"{keys.GC}500")

    stage.actors, stage.script, stage.calls = {"merger": merge()}, [(0, "merger"), (1, "merger")], 0
    assert guard.condemned(store) == {OLD}


def test_lists_that_never_hold_still_are_an_error_that_may_pass(monkeypatch):
    stage = Stage()
    store = open_store(stage)
    stage.create(f"{keys.GC}500", [collection.encode([OLD])])

    def gone(key, offset=0, length=None):
        raise NotFoundError(key)

    monkeypatch.setattr(stage, "read", gone)
    with pytest.raises(TransientError, match="5 times"):
        guard.condemned(store)


def test_a_version_that_was_refused_before_it_was_made_is_never_made():
    stage = Stage()
    store = open_store(stage)
    stage.create(f"{keys.GC}500", [collection.encode([OLD])])
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
