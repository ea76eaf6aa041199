"""`studio copy`: artifacts, experiments and whole stores, between folders and buckets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def pushed(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    (weights / "notes.txt").write_text("loss 0.4\n")
    terminal.ok("push", weights, "exp/w")
    terminal.ok("push", weights / "deep", "exp/deep")
    terminal.ok("push", weights / "notes.txt", "alone/notes")
    return weights


def versions_of(terminal, store, name):
    keys = ("tag", "version", "manifest", "time", "user", "host", "parent")
    return [{key: one[key] for key in keys} for one in terminal.ok("log", name, "--store", store, "--json").json]


def test_an_experiment_goes_to_another_folder(terminal, pushed):
    out = terminal.ok("copy", "exp", "other").out
    assert "exp/w@2: 250.0 KiB, stored" in out
    assert "2 versions copied, 0 there already; 0 records of runs" in out
    assert "0 versions copied, 2 there already" in terminal.ok("copy", "exp", "other").out
    assert terminal.ok("ls", "--store", "other").out == "exp\n"
    terminal.ok("pull", "exp/w", "back", "--store", "other")
    assert (terminal.folder / "back" / "epoch-1.bin").read_bytes() == (pushed / "epoch-1.bin").read_bytes()


def test_a_mirror_has_everything_under_its_name(terminal, pushed):
    made = terminal.ok("copy", "--mirror", "other", "--json").json
    assert [(one["experiment"], one["tag"], one["number"]) for one in made["versions"]] == [
        ("alone", "notes", 1),
        ("exp", "deep", 1),
        ("exp", "w", 1),
        ("exp", "w", 2),
    ]
    assert {one["state"] for one in made["versions"]} == {"copied"}
    for name in ("exp", "alone"):
        assert versions_of(terminal, "other", name) == versions_of(terminal, terminal.address, name)
    again = terminal.ok("copy", "--mirror", "other", "--json").json
    assert {one["state"] for one in again["versions"]} == {"there"}
    assert sum(one["stored"] for one in again["versions"]) == 0


def test_one_version_or_all_of_an_artifact(terminal, pushed):
    assert "exp/w@1: " in terminal.ok("copy", "exp/w@1", "other").out
    assert "1 version copied, 1 there already" in terminal.ok("copy", "exp/w", "other", "--all-versions").out
    assert terminal.ok("cat", "exp/w@1/notes.txt", "--store", "other").out == "loss 0.5\n"


def test_a_dry_run_says_what_a_copy_would_move(terminal, pushed):
    foreseen = terminal.ok("copy", "--mirror", "other", "--dry-run", "--json").json
    assert not (terminal.folder / "other").exists()
    assert "nothing done" in terminal.ok("copy", "exp", "other", "--dry-run").out
    assert not (terminal.folder / "other").exists()
    copied = terminal.ok("copy", "--mirror", "other", "--json").json
    assert {one["state"] for one in foreseen["versions"]} == {"missing"}
    names = ("experiment", "tag", "version", "size")
    assert [[one[name] for name in names] for one in foreseen["versions"]] == [
        [one[name] for name in names] for one in copied["versions"]
    ]
    assert (foreseen["dry_run"], foreseen["records"]) == (True, copied["records"])
    (terminal.folder / "more").write_bytes(os.urandom(300_000))
    terminal.ok("push", terminal.folder / "more", "alone/more")
    out = terminal.ok("copy", "--mirror", "other", "--dry-run").out
    assert "alone/more@1: 293.0 KiB, 293.0 KiB to copy" in out
    assert (
        "1 version to copy, 4 there already; 293.0 KiB of data, now in 1 pack; 0 records of runs; nothing done" in out
    )
    assert terminal.ok("ls", "alone", "--store", "other", "--json").json == [
        one for one in terminal.ok("ls", "alone", "--json").json if one["tag"] == "notes"
    ]


def test_a_dry_run_counts_records_and_tells_of_another_owner(terminal, pushed):
    (terminal.folder / "hello.py").write_text("print('hello')\n")
    terminal.ok("run", "-e", "lr", "hello.py")
    foreseen = terminal.ok("copy", "lr", "other", "--dry-run", "--json").json["records"]
    assert foreseen == terminal.ok("copy", "lr", "other", "--json").json["records"] > 0
    assert terminal.ok("copy", "lr", "other", "--dry-run", "--json").json["records"] == 0
    terminal.ok("push", pushed / "deep", "exp/other", "--store", "other", STUDIOML_USER="bob")
    assert "belongs to bob" in terminal.fails(6, "copy", "exp", "other", "--dry-run").err
    terminal.ok("copy", "exp", "other", "--dry-run", "--join")


def test_a_run_goes_along_with_its_record(terminal, pushed):
    (terminal.folder / "hello.py").write_text("print('hello')\n")
    terminal.ok("run", "-e", "lr", "hello.py")
    terminal.ok("copy", "lr", "other")
    shown = terminal.ok("runs", "show", "lr", "--store", "other", "--json").json
    assert shown == terminal.ok("runs", "show", "lr", "--json").json
    assert "hello" in terminal.ok("logs", "lr", "--store", "other").out


def test_what_makes_no_sense_is_refused(terminal, pushed):
    assert "where to?" in terminal.fails(2, "copy", "exp").err
    assert "--mirror" in terminal.fails(2, "copy", "exp", "other", "--mirror").err
    assert "names a path" in terminal.fails(2, "copy", "exp/w/deep", "other").err
    assert "--all-versions" in terminal.fails(2, "copy", "exp/w@1", "other", "--all-versions").err
    assert "name another" in terminal.fails(2, "copy", "exp", terminal.address).err
    assert "there are: alone, exp" in terminal.fails(4, "copy", "nothing", "other").err
    assert not (terminal.folder / "other").exists()


def test_an_experiment_of_somebody_else_needs_join(terminal, pushed):
    terminal.ok("push", pushed / "deep", "exp/other", "--store", "other", STUDIOML_USER="bob")
    assert "belongs to bob" in terminal.fails(6, "copy", "exp", "other").err
    mirrored = terminal.run("copy", "--mirror", "other")
    assert mirrored.code == 6
    assert "belongs to bob" in mirrored.err
    assert terminal.ok("ls", "--store", "other").out == "alone\nexp\n"
    terminal.ok("copy", "exp", "other", "--join")


@pytest.mark.own_store
def test_a_damaged_version_is_named_and_the_others_are_copied(terminal, pushed):
    (pushed / "notes.txt").write_bytes(os.urandom(3000))
    terminal.ok("push", pushed / "notes.txt", "alone/notes")
    newest = max(
        (terminal.store / "packs").rglob("*"), key=lambda path: path.stat().st_mtime_ns if path.is_file() else 0
    )
    newest.chmod(0o644)
    newest.write_bytes(newest.read_bytes()[:100] + b"\0" + newest.read_bytes()[101:])
    outcome = terminal.run("copy", "--mirror", "other")
    assert outcome.code == 5
    assert "alone/notes@2: " in outcome.err
    assert "damaged" in outcome.err
    assert "4 versions copied, 0 there already, 1 failed" in outcome.out
    assert terminal.ok("cat", "alone/notes", "--store", "other").out == "loss 0.4\n"


@pytest.mark.own_store
def test_buckets_of_two_clouds_and_a_folder_hold_the_same(terminal, pushed, gcs_emulator, s3_server):
    terminal.environment |= {"STORAGE_EMULATOR_HOST": gcs_emulator.endpoint, **s3_server.environment}
    google, amazon = f"gs://{gcs_emulator.new_bucket()}/a", f"s3://{s3_server.new_bucket()}/b"
    terminal.ok("copy", "--mirror", google)
    terminal.ok("copy", "--mirror", amazon, "--store", google)
    terminal.ok("copy", "--mirror", "third", "--store", amazon)
    assert versions_of(terminal, "third", "exp/w") == versions_of(terminal, terminal.address, "exp/w")
    terminal.ok("export", "exp/w", "here.tar")
    terminal.ok("export", "exp/w", "there.tar", "--store", "third")
    assert (terminal.folder / "here.tar").read_bytes() == (terminal.folder / "there.tar").read_bytes()


def test_a_copy_that_is_killed_goes_on(terminal, pushed):
    (pushed / "large.bin").write_bytes(os.urandom(220_000_000))
    terminal.ok("push", pushed, "exp/w")
    call = [sys.executable, "-m", "studio_cas.cli.main", "copy", "exp/w", "other"]
    packs = terminal.folder / "other" / "packs"
    running = subprocess.Popen(call, cwd=terminal.folder, env=terminal.environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    # of three packs, made two at a time, one is in the catalog
    while sum(path.is_file() and path.name[0] != "." for path in packs.rglob("*")) < 3:
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert "no artifacts yet" in terminal.fails(4, "pull", "exp/w", "back", "--store", "other").err
    stored = terminal.ok("copy", "exp/w", "other", "--json").json["versions"][0]["stored"]
    assert stored < 200_000_000
    terminal.ok("pull", "exp/w", "back", "--store", "other")
    assert (terminal.folder / "back" / "large.bin").read_bytes() == (pushed / "large.bin").read_bytes()
