"""Where signatures are demanded; what is remembered; and versions that waited for a store that was away."""

from __future__ import annotations

import re

import pytest
from tests.store.team import Machine

from studio_cas.backends.local import LocalBackend
from studio_cas.backends.spooling import Spooling
from studio_cas.errors import CorruptError, TransientError, UntrustedError
from studio_cas.formats import keys, version
from studio_cas.formats.spec import parse_spec
from studio_cas.store import heads, trust
from studio_cas.store.signing import key_path
from studio_cas.store.spool_folder import spool_folder
from studio_cas.store.spooled import RULES, open_with
from studio_cas.store.store import open_store
from studio_cas.store.verifying import history, resolve_vouched
from studio_cas.store.versions import resolve
from studio_cas.testing.moody_backend import Moody

pytestmark = pytest.mark.own_store


def demanded(one: Machine, name: str = "exp/tag") -> version.Version:
    one.store.require_signatures = True
    return resolve_vouched(one.store, parse_spec(name))


def test_a_good_version_is_used(bob):
    assert demanded(bob) == resolve(bob.store, "exp/tag")
    assert demanded(bob, "exp/tag@-1").number == 4


def test_nothing_is_asked_where_signatures_are_not_demanded(attacker, machine):
    machine("carl", key=False).captures("1")
    assert resolve_vouched(machine("dora", key=False).store, parse_spec("exp/tag")).number == 1


def test_a_version_that_is_not_signed_is_refused_and_an_older_one_named(machine, ann, bob):
    machine("carl", key=False).captures("6")
    machine("mallory").captures("7")
    with pytest.raises(
        UntrustedError, match=r"exp/tag@7 is untrusted.*before it that is signed is exp/tag@5"
    ) as caught:
        demanded(bob)
    assert caught.value.exit_code == 10
    with pytest.raises(UntrustedError, match=r"exp/tag@6 is unsigned"):
        demanded(bob, "exp/tag@6")
    assert demanded(bob, "exp/tag@5").number == 5


def test_a_forged_version_is_refused(attacker, bob):
    attacker.writes(1, attacker.reads(1).replace(b'"host": "', b'"host": "not-'))
    with pytest.raises(UntrustedError, match=r"exp/tag@1 is forged: [^(]*$"):
        demanded(bob, "exp/tag@1")


def test_what_is_used_is_what_was_verified(attacker, ann, bob, monkeypatch):
    """Between finding a version and verifying it, somebody puts the good record back."""
    good = attacker.reads(5)
    attacker.writes(5, good.replace(b'"host": "', b'"host": "not-'))
    real = LocalBackend.read

    def read(self, key, *arguments):
        data = bytes(real(self, key, *arguments))
        if key == keys.version("exp", "tag", 5):
            attacker.writes(5, good)
        return data

    monkeypatch.setattr(LocalBackend, "read", read)
    assert not demanded(bob).host.startswith("not-")


def test_what_is_used_is_what_the_name_was_found_to_mean(attacker, bob, monkeypatch):
    """A forged record has the manifest id that is looked for; then the good one, which has another, is put back."""
    good, wanted = attacker.reads(3), "ab" * 32
    forged = re.sub(rb'"manifest": "[0-9a-f]+"', f'"manifest": "{wanted}"'.encode(), good)
    attacker.writes(3, forged)
    real = LocalBackend.read

    def read(self, key, *arguments):
        data = bytes(real(self, key, *arguments))
        if key == keys.version("exp", "tag", 3):
            attacker.writes(3, good)
        return data

    monkeypatch.setattr(LocalBackend, "read", read)
    with pytest.raises(CorruptError, match="exp/tag@3 became another version while exp/tag@abababab was looked for"):
        demanded(bob, "exp/tag@abababab")


def test_a_store_that_went_back_is_refused(attacker, ann):
    demanded(ann)
    attacker.drops(5)
    with pytest.raises(
        UntrustedError, match=r"exp/tag@5 is gone or was replaced, and this machine saw it.*studio trust forget exp/tag"
    ):
        demanded(ann)
    with pytest.raises(UntrustedError):
        demanded(ann, "exp/tag@-1")
    assert demanded(ann, "exp/tag@4").number == 4
    assert heads.forget(ann.store, "exp", "tag") == 1
    assert demanded(ann).number == 4


def test_what_is_continued_after_it_went_back_is_refused(attacker, ann, bob):
    trust.add(ann.home, "bob", bob.key)
    demanded(ann)
    attacker.drops(5)
    bob.captures("other", "and another")
    for _ in range(2):
        with pytest.raises(UntrustedError, match="exp/tag@5 is gone or was replaced"):
            demanded(ann)
        assert demanded(ann, "exp/tag@6").number == 6  # by its number, as bob is trusted
    with pytest.raises(UntrustedError, match="exp/tag@5 is replaced"):
        demanded(ann, "exp/tag@5")
    heads.forget(ann.store, "exp", "tag")
    assert demanded(ann).number == 6


def test_what_a_pull_saw_is_remembered(attacker, bob):
    demanded(bob)
    attacker.drops(5)
    assert bob.finds()[-1] == "5 dropped"


def test_a_version_that_was_removed_on_purpose_is_not_missed(attacker, ann):
    attacker.drops(5)
    heads.forget_removed(ann.store, [keys.version("exp", "tag", 4), keys.version("exp", "none", 1)])
    assert ann.finds()[-1] == "5 dropped"
    heads.forget_removed(ann.store, [keys.version("exp", "tag", 5)])
    assert ann.finds()[-1] == "4 good"


def test_a_memory_that_cannot_be_read_is_none(ann):
    path = next((ann.home / "keys" / "seen").glob("*/exp/tag"))
    path.write_text("{}")
    assert heads.recall(ann.store, "exp", "tag") is None
    assert ann.finds()[-1] == "5 good"
    assert heads.recall(ann.store, "exp", "tag").version.number == 5


# --- a store that was away ------------------------------------------------------------------------------------------


class Cloud:
    """A store that can be away; ann keeps what she makes meanwhile, and bob goes on."""

    def __init__(self, ann: Machine, bob: Machine) -> None:
        trust.add(ann.home, "bob", bob.key)
        self.remote, self.now = Moody(), 1000.0
        folder = spool_folder(ann.home, self.remote.url)
        spool = Spooling(self.remote, folder, rules=RULES, clock=lambda: self.now, jitter=lambda: 1.0)
        for one in (ann, bob):
            one.store.close()
        ann.store = open_with(spool, ann.home)
        bob.store = open_store(self.remote, home=bob.home)
        self.ann = ann

    def goes(self) -> None:
        self.remote.error = TransientError("connection refused")

    def comes_back(self) -> None:
        self.remote.error = None
        self.now += 1000
        assert not self.ann.store.flush(5).objects


def test_versions_that_waited_are_signed_for_the_numbers_that_they_get(machine):
    ann, bob = machine("ann"), machine("bob")
    cloud = Cloud(ann, bob)
    ann.captures("1")
    assert heads.recall(ann.store, "exp", "tag").version.number == 1
    cloud.goes()
    ann.captures("2", "3")
    assert heads.recall(ann.store, "exp", "tag").version.number == 1  # their numbers may become others
    cloud.remote.error = None
    bob.captures("meanwhile")
    cloud.comes_back()
    assert ann.finds() == ["1 good", "2 good", "3 good", "4 good"]
    found = list(history(ann.store, "exp", "tag"))[::-1]
    assert [one.signer for one in found] == ["ann", "bob", "ann", "ann"]
    assert heads.recall(ann.store, "exp", "tag").version.number == 4


def test_versions_that_waited_go_up_as_they_were_signed_where_nobody_else_came(machine):
    ann = machine("ann")
    cloud = Cloud(ann, machine("bob"))
    ann.captures("1")
    cloud.goes()
    ann.captures("2", "3")
    waiting = [bytes(ann.store.spool.read(keys.version("exp", "tag", number))) for number in (2, 3)]
    cloud.comes_back()
    assert [cloud.remote.read(keys.version("exp", "tag", number)) for number in (2, 3)] == waiting
    assert ann.finds() == ["1 good", "2 good", "3 good"]


def test_versions_whose_key_is_gone_go_up_unsigned_where_they_get_another_number(machine):
    ann, bob = machine("ann"), machine("bob")
    cloud = Cloud(ann, bob)
    ann.captures("1")
    cloud.goes()
    ann.captures("2", "3")
    key_path(ann.home).unlink()
    cloud.remote.error = None
    bob.captures("meanwhile")
    cloud.comes_back()
    assert ann.finds() == ["1 good", "2 good", "3 unsigned", "4 unsigned"]
