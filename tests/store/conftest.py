"""Fixtures of tests of the store."""

from __future__ import annotations

import pytest
from tests.reliability.folders import fill
from tests.store.garbage import Clock
from tests.store.team import Attacker, Machine

from studio_cas.backends.memory import MemoryBackend
from studio_cas.store import trust
from studio_cas.store.signing import KEY_VARIABLE
from studio_cas.store.store import open_store


@pytest.fixture(autouse=True)
def _no_key_of_the_person(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def team(tmp_path):
    return tmp_path / "team"


@pytest.fixture
def attacker(team):
    return Attacker(team)


@pytest.fixture
def machine(tmp_path, team):
    made = []

    def make(name: str, **options) -> Machine:
        made.append(Machine(tmp_path, team, name, **options))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture
def ann(machine):
    """Ann has made five versions, and looked at them."""
    ann = machine("ann")
    ann.captures("1", "2", "3", "4", "5")
    assert ann.finds() == [f"{number} good" for number in range(1, 6)]
    return ann


@pytest.fixture
def bob(machine, ann):
    """Bob never saw the store, and trusts ann."""
    bob = machine("bob")
    trust.add(bob.home, "ann", ann.key)
    return bob


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
