"""Who signs, with which key, and who is trusted."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from tests.store.team import Attacker

from studio_cas.backends.local import LocalBackend
from studio_cas.errors import ConfigError, ConflictError, LocalIOError, NotFoundError, UsageError
from studio_cas.formats import keys
from studio_cas.store import heads, trust
from studio_cas.store.signing import KEY_VARIABLE, key_path, load_signer, make_key
from studio_cas.store.store import open_store
from studio_cas.store.verifying import State, judge
from studio_cas.store.versions import latest
from studio_cas.worktree.capture import capture

pytestmark = pytest.mark.own_store


def test_machines_without_a_key_make_versions_as_before(machine, ann, bob):
    carl = machine("carl", key=False)
    carl.captures("6")
    assert "signed" not in json.loads((Attacker(Path(carl.store.url))).reads(6))
    bob.captures("7")
    assert bob.finds()[-2:] == ["6 unsigned", "7 good"]
    assert not carl.home.joinpath("keys").exists()


def test_an_unsigned_version_below_a_signed_one_cannot_be_exchanged(attacker, machine, bob):
    machine("carl", key=False).captures("6")
    bob.captures("7")
    attacker.writes(6, attacker.reads(6).replace(b'"host": "', b'"host": "not-'))
    assert bob.finds()[-2:] == ["6 replaced", "7 good"]


def test_a_key_may_be_trusted_for_some_experiments_only(ann, bob):
    ann.captures("x", artifact="vision-1/w")
    trust.remove(bob.home, "ann")
    trust.add(bob.home, "ann", ann.key, ["vision-*", "nlp-?"])
    assert bob.finds()[-1] == "5 untrusted"
    assert "trusted for the experiments vision-* nlp-? only" in bob.tells()
    assert bob.finds("vision-1/w") == ["1 good"]


def test_a_key_that_is_removed_is_trusted_no_more(ann, bob):
    assert [one.key for one in trust.remove(bob.home, "ann", ann.key)] == [ann.key]
    assert set(bob.finds()) == {f"{number} untrusted" for number in range(1, 6)}
    with pytest.raises(NotFoundError, match="has no key of ann; it has keys of: bob"):
        trust.remove(bob.home, "ann")


def test_two_writers_at_once_sign_after_each_other(ann, bob, monkeypatch):
    trust.add(ann.home, "bob", bob.key)
    real = LocalBackend.create
    raced = []

    def create(self, key, parts):
        if key.startswith(keys.VERSIONS) and not raced:
            raced.append(key)
            bob.captures("faster")
        return real(self, key, parts)

    monkeypatch.setattr(LocalBackend, "create", create)
    ann.captures("slower")
    assert ann.finds()[-2:] == ["6 good", "7 good"]
    assert latest(ann.store, "exp", "tag").host == os.uname().nodename
    assert heads.recall(ann.store, "exp", "tag").version.number == 7


def test_the_library_signs_too(ann):
    found = judge(
        ann.store.config.store_id,
        trust.trusted_keys(ann.home),
        keys.version("exp", "tag", 5),
        ann.store.backend.read(keys.version("exp", "tag", 5)),
    )
    assert (found.state, found.signer, found.key, found.previous.number) == (State.GOOD, "ann", ann.key, 4)


def test_the_private_key_is_never_stored(machine, team, monkeypatch):
    """Neither from the home, nor from where STUDIOML_SIGNING_KEY says."""
    ann = machine("ann")
    pem = key_path(ann.home).read_bytes()
    shutil.copy(key_path(ann.home), ann.work / "my key")
    monkeypatch.setenv(KEY_VARIABLE, str(ann.work / "my key"))
    with open_store(team, home=ann.home) as store:
        result = capture(store, ann.work.parent, "exp", "tag", exclude=[team])
    assert result.skipped == ("ann's work/my key: is the key that signs versions, and is left out",)
    secret = pem.split(b"\n")[1]
    assert not any(secret in path.read_bytes() for path in team.rglob("*") if path.is_file())
    with pytest.raises(LocalIOError, match="is the key that signs versions"):
        capture(store, ann.work / "my key", "exp", "key")
    with pytest.raises(UsageError, match="belongs to studio itself"):
        capture(store, ann.home / "keys", "exp", "key")


def test_the_key_is_left_out_though_it_was_captured_before_it_was_one_or_is_another_file_by_now(
    machine, team, monkeypatch
):
    ann = machine("ann")
    (ann.work / "here").touch()
    (ann.work / "my key").write_bytes(key_path(ann.home).read_bytes())
    (ann.work / "my key").chmod(0o600)
    os.utime(ann.work / "my key", (1e9, 1e9))
    assert capture(ann.store, ann.work, "exp", "tag").files == 2
    monkeypatch.setenv(KEY_VARIABLE, str(ann.work / "my key"))
    with open_store(team, home=ann.home) as store:
        assert capture(store, ann.work, "exp", "tag").files == 1
        shutil.copy(key_path(ann.home, {}), ann.work / "other")
        (ann.work / "other").rename(ann.work / "my key")
        result = capture(store, ann.work, "exp", "tag")
    assert (result.files, result.skipped) == (1, ("my key: is the key that signs versions, and is left out",))


def test_a_key_that_others_may_read_is_refused(ann):
    key_path(ann.home).chmod(0o640)
    refused = pytest.raises(ConfigError, match=r"can be read by other users .mode 0640.*chmod 600")
    with open_store(Path(ann.store.url), home=ann.home) as store, refused:
        capture(store, ann.work, "exp", "tag")


def test_a_key_is_made_once_and_closed_to_others(ann):
    assert key_path(ann.home).stat().st_mode & 0o777 == 0o600
    assert key_path(ann.home).parent.stat().st_mode & 0o777 == 0o700
    before = key_path(ann.home).read_bytes()
    with pytest.raises(ConflictError, match="there is a key at"):
        make_key(ann.home)
    assert key_path(ann.home).read_bytes() == before
    assert sorted(os.listdir(ann.home / "keys")) == ["seen", "signing.pem", "stores", "trusted"]


RSA_LIKE = b"-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("content", [b"", b"no key", RSA_LIKE])
def test_a_key_file_that_holds_no_key_is_told(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigError, match="holds no private key for ed25519 in PEM"):
        load_signer(tmp_path, {KEY_VARIABLE: str(tmp_path / "key")})


def test_the_library_is_asked_for_where_it_is_missing(ann, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    for use in (lambda: load_signer(ann.home), lambda: make_key(tmp_path), ann.finds):
        with pytest.raises(ConfigError, match=r"need the extra \[sign\]: pip install 'studio-cas\[sign\]'"):
            use()
    assert not (tmp_path / "keys").exists()


def test_a_key_that_was_named_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match=f"named by {KEY_VARIABLE}, does not exist"):
        load_signer(tmp_path, {KEY_VARIABLE: str(tmp_path / "no key")})
    assert load_signer(tmp_path, {}) is None


def test_the_list_of_trusted_keys_can_be_edited_and_is_checked(tmp_path):
    (tmp_path / "keys").mkdir()
    path = trust.trust_file(tmp_path)
    path.write_text(f"# mine\n\n ann  {'AB' * 32}   vision-* # her laptop\nann ed25519:{'cd' * 32}\n")
    path.chmod(0o644)
    assert trust.trusted_keys(tmp_path) == [
        trust.TrustedKey("ann", f"ed25519:{'ab' * 32}", ("vision-*",)),
        trust.TrustedKey("ann", f"ed25519:{'cd' * 32}"),
    ]
    path.chmod(0o664)
    with pytest.raises(ConfigError, match=r"can be changed by other users .mode 0664"):
        trust.trusted_keys(tmp_path)
    path.chmod(0o600)
    path.write_text("ann\n")
    with pytest.raises(ConfigError, match="line 1: a name and a public key are expected"):
        trust.trusted_keys(tmp_path)


def test_what_cannot_be_trusted_is_refused(ann):
    with pytest.raises(ConflictError, match="is trusted already, as ann's"):
        trust.add(ann.home, "bob", ann.key)
    for name, key, patterns in (
        ("a b", "00" * 32, []),
        ("", "00" * 32, []),
        ("bob", "00", []),
        ("b", "00" * 32, ["x y"]),
    ):
        with pytest.raises(UsageError):
            trust.add(ann.home, name, key, patterns)
    assert [one.name for one in trust.trusted_keys(ann.home)] == ["ann"]
