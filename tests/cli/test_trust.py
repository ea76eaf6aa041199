"""`studio trust`, `studio log --verify`, and what refuses versions that nobody signed who is trusted."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from studio_cas.formats import keys
from studio_cas.store.signing import KEY_VARIABLE


@pytest.fixture
def key(terminal):
    """The public key of a machine that signs."""
    return terminal.ok("trust", "init", "--name", "ann", "--json").json["key"]


@pytest.fixture
def pushed(terminal, key, weights):
    """Three signed versions."""
    for number in range(3):
        (weights / "notes.txt").write_text(f"loss {number}\n")
        terminal.ok("push", weights, "exp/w")
    return terminal


def path(terminal, number, artifact="exp/w"):
    return terminal.store / keys.version(*artifact.split("/"), number)


def home(terminal):
    return terminal.home / ".studioml"


def test_a_key_is_made_by_one_command(terminal):
    outcome = terminal.ok("trust", "init")
    (key,) = re.findall(r"public key: (ed25519:[0-9a-f]{64})\n", outcome.out)
    assert f"studio trust add {terminal.ok('config', '--json').json['settings']['user']['value']} {key}" in outcome.out
    file = home(terminal) / "keys" / "signing.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert "there is a key at" in terminal.fails(6, "trust", "init").err
    assert "cannot name who signs" in terminal.fails(2, "trust", "init", "--name", "a b").err


def test_keys_are_added_listed_and_removed(terminal, key):
    other = f"ed25519:{'ab' * 32}"
    assert "bob is trusted for vision-* nlp-*" in (
        terminal.ok("trust", "add", "bob", "AB" * 32, "--experiments", "vision-*", "--experiments", "nlp-*").out
    )
    listed = terminal.ok("trust", "list", "--json").json
    assert listed == {
        "signing": {"key": key, "path": str(home(terminal) / "keys" / "signing.pem")},
        "trusted": [
            {"name": "ann", "key": key, "experiments": []},
            {"name": "bob", "key": other, "experiments": ["vision-*", "nlp-*"]},
        ],
    }
    rows = terminal.ok("trust", "list").out.splitlines()
    assert rows[1].split() == ["ann", key, "all", "experiments", "signs", "here"]
    assert rows[2].split() == ["bob", other, "vision-*", "nlp-*"]
    assert "is trusted already, as bob's" in terminal.fails(6, "trust", "add", "carl", other).err
    assert "is no public key" in terminal.fails(2, "trust", "add", "carl", "ssh-rsa").err
    assert terminal.ok("trust", "remove", "bob", "--json").json["removed"][0]["key"] == other
    assert "has no key of bob; it has keys of: ann" in terminal.fails(4, "trust", "remove", "bob").err
    terminal.ok("trust", "remove", "ann", key)
    assert "which is not trusted here" in terminal.ok("trust", "list").out


def test_nothing_is_signed_or_trusted_unless_somebody_wants_it(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    assert "no key is trusted" in terminal.ok("trust", "list").out
    assert terminal.ok("trust", "list", "--json").json == {"signing": None, "trusted": []}
    assert "signatures" not in terminal.run("doctor").out
    outcome = terminal.run("log", "exp/w", "--verify")
    assert outcome.code == 10
    assert outcome.err == (
        "studio: exp/w@1 is unsigned: nobody signed it: whoever may write to the store can have made it\n"
    )
    assert not (home(terminal) / "keys").exists()


def test_a_good_history_ends_with_zero(pushed, key):
    outcome = pushed.ok("log", "exp/w", "--verify")
    assert [line.split()[:3] for line in outcome.out.splitlines()[1:-1]] == [
        [f"exp/w@{number}", "good", "ann"] for number in (3, 2, 1)
    ]
    assert outcome.out.splitlines()[-1] == "3 versions: 3 good"
    assert not outcome.err
    rows = pushed.ok("log", "exp", "--verify", "--json", "--limit", "2").json
    assert [(row["version"], row["state"], row["signer"], row["key"], row["problem"]) for row in rows] == [
        (3, "good", "ann", key, None),
        (2, "good", "ann", key, None),
    ]
    assert rows[0]["manifest"] == pushed.ok("info", "exp/w", "--json").json["manifest"]


@pytest.mark.own_store
def test_what_was_dropped_is_named_with_exit_code_5(pushed):
    path(pushed, 2).unlink()
    outcome = pushed.run("log", "exp/w", "--verify")
    assert outcome.code == 5
    assert "exp/w@2 is dropped: it is gone, and exp/w@3 was signed after it" in outcome.err
    assert outcome.out.splitlines()[-1] == "3 versions: 2 good, 1 dropped"
    row = pushed.run("log", "exp/w", "--verify", "--json").json[1]
    assert (row["version"], row["first"], row["state"], row["manifest"]) == (2, 2, "dropped", None)


@pytest.mark.own_store
def test_what_was_forged_is_named_and_lists_are_not_stopped_by_it(pushed):
    record = path(pushed, 1).read_bytes()
    path(pushed, 1).write_bytes(record.replace(b'"files": ', b'"files": 1'))
    outcome = pushed.run("log", "exp/w", "--verify")
    assert outcome.code == 5
    assert outcome.err.startswith("studio: exp/w@1 is forged: its signature is not one by the key of ann")
    path(pushed, 2).write_bytes(b"rubbish")
    assert [row["state"] for row in pushed.run("log", "exp/w", "--verify", "--json").json] == [
        "good",
        "damaged",
        "forged",
    ]


@pytest.mark.own_store
def test_an_artifact_that_is_gone_altogether_is_told_until_it_is_forgotten(pushed):
    for number in (1, 2, 3):
        path(pushed, number).unlink()
    for name in ("exp/w", "exp"):
        outcome = pushed.run("log", name, "--verify")
        assert (outcome.code, outcome.out.splitlines()[1].split()) == (5, ["exp/w@1", "to", "3", "dropped"])
    assert pushed.ok("trust", "forget", "exp", "--json").json == {"forgotten": 1}
    pushed.fails(4, "log", "exp/w", "--verify")
    assert pushed.ok("trust", "forget", "exp/w", "--json").json == {"forgotten": 0}
    assert "names a version" in pushed.fails(2, "trust", "forget", "exp/w@1").err


@pytest.mark.own_store
def test_what_runs_rm_removes_here_is_not_missed(pushed, weights):
    pushed.ok("push", weights, "other/w")
    pushed.ok("runs", "rm", "exp", "--yes", "--force")
    pushed.fails(4, "log", "exp/w", "--verify")
    pushed.ok("log", "other/w", "--verify")


def test_a_run_signs_what_it_captures(terminal, key):
    (terminal.folder / "train.py").write_text("print('hello')\n")
    terminal.ok("run", "-e", "exp", "--no-modeldir", "--no-tb", "train.py")
    rows = terminal.ok("log", "exp", "--verify", "--json").json
    assert {row["tag"] for row in rows} == {"workspace", "output"}
    assert {row["state"] for row in rows} == {"good"}


def test_whatever_makes_versions_signs_them(terminal, key, weights):
    terminal.ok("sync", "--once", weights, "exp/synced")
    terminal.ok("import", weights, "exp/imported")
    (terminal.folder / "commit.py").write_text(
        "from studio import fs_tracker\n"
        "open(fs_tracker.get_artifact('made') + '/file', 'w').write('x')\n"
        "print(fs_tracker.commit('made'))\n"
    )
    environment = {**terminal.environment, "STUDIOML_HOME": str(home(terminal)), "STUDIOML_STORE": terminal.address}
    subprocess.run([sys.executable, "commit.py"], cwd=terminal.folder, env=environment, check=True, timeout=60)
    for name in ("exp/synced", "exp/imported", "default/made"):
        terminal.ok("log", name, "--verify")


def test_info_tells_of_the_signature(terminal, key, weights):
    terminal.ok("push", weights, "exp/w")
    assert "\nsigned:   by ann\n" in terminal.ok("info", "exp/w").out
    signature = terminal.ok("info", "exp/w", "--json").json["signature"]
    assert signature == {"state": "good", "signer": "ann", "key": key}
    terminal.ok("trust", "remove", "ann")
    assert "\nsigned:   untrusted: it is signed with a key" in terminal.ok("info", "exp/w").out


def test_a_key_that_others_may_read_stops_a_run_before_its_script(terminal, key):
    (terminal.folder / "train.py").write_text("open('it ran', 'w')\n")
    (home(terminal) / "keys" / "signing.pem").chmod(0o644)
    for command in (("run", "train.py"), ("push", "train.py", "exp/s"), ("sync", "--once", "train.py", "exp/s")):
        assert "can be read by other users (mode 0644)" in terminal.fails(2, *command).err
    assert not (terminal.folder / "it ran").exists()
    outcome = terminal.run("doctor")
    assert outcome.code == 1
    assert "fail  signatures: the key file" in outcome.out


def test_another_key_can_be_named(terminal, weights, key):
    (home(terminal) / "keys" / "signing.pem").rename(terminal.folder / "moved.pem")
    terminal.ok("push", weights, "exp/w")
    assert terminal.run("log", "exp/w", "--verify").code == 10
    terminal.environment[KEY_VARIABLE] = str(terminal.folder / "moved.pem")
    (weights / "notes.txt").write_text("more\n")
    terminal.ok("push", weights, "exp/w")
    states = [row["state"] for row in terminal.run("log", "exp/w", "--verify", "--json").json]
    assert states == ["good", "unsigned"]
    assert KEY_VARIABLE in terminal.ok("trust", "init", "--name", "second").out


def test_unsigned_versions_are_refused_where_signatures_are_demanded(pushed, weights):
    (home(pushed) / "config.yaml").write_text("requireSignatures: on\n")
    pushed.ok("pull", "exp/w", "here")
    key_file = home(pushed) / "keys" / "signing.pem"
    key_file.rename(pushed.folder / "away.pem")
    (weights / "notes.txt").write_text("from somebody\n")
    pushed.ok("push", weights, "exp/w")
    (pushed.folder / "print.py").write_text("open('it ran', 'w')\n")
    for command in (
        ("pull", "exp/w", "there"),
        ("cat", "exp/w/notes.txt"),
        ("export", "exp/w", "w.tar"),
        ("run", "--reuse", "exp/w:w", "print.py"),
        ("copy", "exp/w", str(pushed.folder / "other")),
    ):
        outcome = pushed.run(*command)
        assert outcome.code == (5 if command[0] == "copy" else 10), outcome
        assert "exp/w@4 is unsigned" in outcome.err
    assert "that is signed is exp/w@3" in pushed.fails(10, "pull", "exp/w", "there").err
    assert not {"there", "w.tar", "it ran"} & set(os.listdir(pushed.folder))
    pushed.ok("pull", "exp/w@3", "there")
    assert pushed.ok("config", "--json").json["settings"]["requireSignatures"]["value"] == "on"
    for read in (("ls", "exp/w"), ("info", "exp/w"), ("log", "exp"), ("diff", "exp/w@3", "exp/w")):
        pushed.ok(*read)


def test_rerun_refuses_a_workspace_that_nobody_signed(terminal):
    (terminal.folder / "train.py").write_text("print('hello')\n")
    terminal.ok("run", "-e", "exp", "--no-modeldir", "--no-tb", "--no-output", "train.py")
    (home(terminal) / "config.yaml").write_text("requireSignatures: on\n")
    outcome = terminal.run("rerun", "exp", "--folder", "again")
    assert outcome.code == 10
    assert "exp/workspace@1 is unsigned" in outcome.err
    assert not (terminal.folder / "again" / "workspace").exists()


def test_a_copy_is_signed_by_who_copies_where_the_original_was_good(pushed, weights, key):
    (home(pushed) / "keys" / "signing.pem").rename(pushed.folder / "away.pem")
    (weights / "notes.txt").write_text("from somebody\n")
    pushed.ok("push", weights, "exp/w")
    pushed.environment[KEY_VARIABLE] = str(pushed.folder / "away.pem")
    other = str(pushed.folder / "other")
    pushed.ok("copy", "exp/w", other, "--all-versions")
    rows = pushed.run("log", "exp/w", "--verify", "--json", "--store", other).json
    assert [(row["version"], row["state"], row["copied_from"]) for row in rows] == [
        (4, "unsigned", None),
        (3, "good", key),
        (2, "good", key),
        (1, "good", key),
    ]
    assert "ann (a copy)" in pushed.run("log", "exp/w", "--verify", "--store", other).out


@pytest.mark.own_store
def test_a_forged_version_is_not_copied_under_another_signature(pushed):
    record = path(pushed, 2).read_bytes()
    path(pushed, 2).write_bytes(record.replace(b'"host": "', b'"host": "not-'))
    other = str(pushed.folder / "other")
    for options in (["--dry-run"], []):
        outcome = pushed.run("copy", "exp/w", other, "--all-versions", *options)
        assert outcome.code == 5
        assert "exp/w@2 is forged" in outcome.err
    rows = pushed.ok("log", "exp/w", "--verify", "--json", "--store", other).json
    assert [(row["version"], row["state"]) for row in rows] == [(3, "good"), (1, "good")]


def test_the_doctor_tells_of_signatures(terminal, key):
    assert f"versions are signed with {key}; 1 key trusted" in terminal.ok("doctor").out
    terminal.ok("trust", "remove", "ann")
    assert f"studio trust add NAME {key}" in terminal.ok("doctor").out
    (home(terminal) / "config.yaml").write_text("requireSignatures: on\n")
    assert "requireSignatures refuses everything" in terminal.ok("doctor").out
