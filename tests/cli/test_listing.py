"""`studio ls`, `log`, `diff`, `cat`, `info`, `du`, `cache`, `config`: what they print, for people and for programs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest


@pytest.fixture
def pushed(terminal, weights):
    """A store with two versions of exp/w, and one of other/notes."""
    terminal.ok("push", weights, "exp/w")
    (weights / "notes.txt").write_text("loss 0.25, better\n")
    (weights / "deep" / "config.json").unlink()
    (weights / "new.bin").write_bytes(b"n" * 2048)
    terminal.ok("push", weights, "exp/w")
    terminal.ok("push", weights / "notes.txt", "other/notes")
    return terminal


def test_ls_lists_experiments(pushed):
    assert pushed.ok("ls").out == "exp\nother\n"
    assert pushed.ok("ls", "--json").json == ["exp", "other"]


def test_ls_lists_the_artifacts_of_an_experiment(pushed):
    heading, row = pushed.ok("ls", "exp").out.splitlines()
    assert heading.split() == ["TAG", "VERSION", "FILES", "SIZE", "CAPTURED"]
    assert row.split()[:3] == ["w", "2", "3"]
    (record,) = pushed.ok("ls", "exp", "--json").json
    assert (record["tag"], record["version"], record["files"]) == ("w", 2, 3)


def test_ls_lists_the_files_of_an_artifact(pushed):
    names = [line.split()[-1] for line in pushed.ok("ls", "exp/w").out.splitlines()]
    assert names == ["deep/", "epoch-1.bin", "epoch-1.bin", "new.bin", "notes.txt"]  # latest -> epoch-1.bin
    entries = pushed.ok("ls", "exp/w@1", "--json", "--recursive").json
    assert [entry["path"] for entry in entries] == [
        "deep",
        "deep/config.json",
        "epoch-1.bin",
        "latest",
        "notes.txt",
    ]
    assert entries[3] == {**entries[3], "kind": "link", "target": "epoch-1.bin"}
    assert entries[1]["size"] == 12
    assert [entry["path"] for entry in pushed.ok("ls", "exp/w@1/deep", "--json").json] == ["deep/config.json"]


def test_log_lists_versions_the_newest_first(pushed):
    lines = pushed.ok("log", "exp/w").out.splitlines()
    assert [line.split()[0] for line in lines] == ["VERSION", "exp/w@2", "exp/w@1"]
    assert [record["version"] for record in pushed.ok("log", "exp/w", "--json").json] == [2, 1]
    assert [record["version"] for record in pushed.ok("log", "exp/w", "-n", "1", "--json").json] == [2]


@pytest.mark.own_store
def test_a_damaged_record_hides_no_other_version(pushed, weights, tmp_path):
    newest, *_ = sorted((pushed.store / "versions" / "exp" / "w").iterdir())
    newest.write_text("{")
    listed = pushed.run("log", "exp/w")
    assert listed.code == 5
    assert [line.split()[0] for line in listed.out.splitlines()] == ["VERSION", "exp/w@1"]
    assert listed.err.startswith("studio: exp/w@2: ")
    assert "Traceback" not in listed.err
    pushed.ok("push", weights, "exp/z")
    artifacts = pushed.run("ls", "exp")
    assert (artifacts.code, [line.split()[0] for line in artifacts.out.splitlines()]) == (5, ["TAG", "z"])
    assert artifacts.err.startswith("studio: exp/w@2: ")
    pushed.ok("pull", "exp/w@1", tmp_path / "pulled")
    made = pushed.ok("push", weights, "exp/w")
    assert "exp/w@3" in made.out
    assert "exp/w@2: a version record is damaged" in made.err
    assert [record["version"] for record in pushed.run("log", "exp/w", "--json").json] == [3, 1]


def test_log_of_an_experiment_has_all_its_artifacts(pushed, weights):
    pushed.ok("push", weights, "exp/z")
    assert [(record["tag"], record["version"]) for record in pushed.ok("log", "exp", "--json").json] == [
        ("z", 1),
        ("w", 2),
        ("w", 1),
    ]


def test_diff_shows_what_was_added_removed_and_changed(pushed):
    lines = pushed.ok("diff", "exp/w@1", "exp/w").out.splitlines()
    assert lines == ["- deep/config.json (12 B)", "+ new.bin (2.0 KiB)", "~ notes.txt (9 B -> 18 B)"]
    changes = pushed.ok("diff", "exp/w@1", "exp/w", "--json").json
    assert [(change["path"], change["change"]) for change in changes] == [
        ("deep/config.json", "removed"),
        ("new.bin", "added"),
        ("notes.txt", "changed"),
    ]
    assert pushed.ok("diff", "exp/w", "exp/w").out == ""


def test_cat_writes_the_bytes(pushed):
    assert pushed.raw("cat", "exp/w/epoch-1.bin").stdout == bytes(range(256)) * 1000
    assert "is a folder" in pushed.fails(2, "cat", "exp/w").err


def test_info_tells_everything(pushed):
    record = pushed.ok("info", "exp/w@1", "--json").json
    assert record["version"] == 1
    assert len(record["manifest"]) == 64
    assert record["parent"] is None
    text = pushed.ok("info", "exp/w").out
    assert "version:  2" in text
    assert "parent:   1" in text


def test_du_counts_logical_stored_and_shared_bytes(pushed, weights):
    text = pushed.ok("du").out
    assert "  exp/w " in text
    assert "  other/notes " in text
    pushed.ok("push", weights, "third/same")
    report = pushed.ok("du", "--json").json
    artifacts = {(row["experiment"], row["tag"]): row for row in report["artifacts"]}
    assert set(artifacts) == {("exp", "w"), ("other", "notes"), ("third", "same")}
    ours = artifacts["exp", "w"]
    assert ours["versions"] == 2
    assert ours["logical"] > ours["latest"] > 250_000
    assert 0 < ours["shared"] <= ours["stored"] <= report["stored"]
    assert [(row["experiment"], row["tag"]) for row in report["experiments"]] == [
        ("exp", ""),
        ("other", ""),
        ("third", ""),
    ]
    assert report["unused"] == 0


def test_du_of_one_experiment(pushed):
    assert [row["experiment"] for row in pushed.ok("du", "other", "--json").json["artifacts"]] == ["other"]
    pushed.fails(4, "du", "none")


def test_cache_is_empty_at_first(terminal):
    assert terminal.ok("cache", "ls", "--json").json == []
    assert terminal.ok("cache", "clean").out == "removed 0 artifacts, 0 B\n"


def test_the_cache_is_cleaned_by_age_and_by_size(pushed):
    (pushed.folder / "nothing.py").write_text("")
    for artifact in ("exp/w@1", "exp/w@2"):
        pushed.ok("run", "--quiet", "--no-workspace", "--reuse", f"{artifact}:w", "nothing.py")
    cached = pushed.ok("cache", "ls", "--json").json
    assert [entry["files"] for entry in cached] == [4, 4]
    assert "removed 0 artifacts" in pushed.ok("cache", "clean", "--older-than", "1d").out
    assert "would remove 1 artifact" in pushed.ok("cache", "clean", "--max-size", "300KiB", "--dry-run").out
    assert len(pushed.ok("cache", "ls", "--json").json) == 2
    assert [entry["manifest"] for entry in pushed.ok("cache", "clean", "--max-size", "300KiB", "--json").json] == [
        cached[1]["manifest"]
    ]
    assert "removed 1 artifact" in pushed.ok("cache", "clean").out
    assert pushed.ok("cache", "ls").out == ""
    pushed.fails(2, "cache", "clean", "--max-size", "huge")
    pushed.fails(2, "cache", "clean", "--older-than", "long")


@pytest.mark.own_store
def test_config_tells_where_values_come_from(terminal):
    (terminal.folder / "mine.yaml").write_text("storage: gs://bucket/prefix\n")
    settings = terminal.ok("config", "--json", "--config", "mine.yaml", STUDIOML_USER="ann").json["settings"]
    assert settings["storage"] == {
        "value": "gs://bucket/prefix",
        "origin": "file",
        "source": str(terminal.folder / "mine.yaml"),
    }
    assert settings["user"] == {"value": "ann", "origin": "environment", "source": "STUDIOML_USER"}
    assert settings["queue"]["origin"] == "default"
    assert "gs://bucket/prefix" in terminal.ok("config", "--config", "mine.yaml").out


def test_config_show_names_the_file_the_variable_and_the_option_where_it_is_asked_to(terminal):
    (terminal.folder / "mine.yaml").write_text("gracePeriod: 2m\n")
    words = ["--config", "mine.yaml", "--store", "/srv/store"]
    plain = terminal.ok("config", "show", *words, STUDIOML_USER="ann").out
    assert "mine.yaml" not in plain.partition("\n")[2]
    lines = terminal.ok("config", "show", "--origin", *words, STUDIOML_USER="ann").out.splitlines()
    found = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in lines[2:]}
    assert found["gracePeriod"] == f"file {terminal.folder}/mine.yaml"
    assert found["storage"] == "option --store"
    assert found["user"] == "environment STUDIOML_USER"
    assert found["compression"] == "default"
    assert terminal.ok(*words, "config", STUDIOML_USER="ann").out.splitlines() == lines
    assert "after show" in terminal.fails(2, "config", "--json", "show").err


def test_a_wrong_key_is_named_with_the_one_that_was_meant(terminal):
    (terminal.folder / "mine.yaml").write_text("saveWorkspaceFrequenzy: 2m\n")
    err = terminal.fails(2, "config", "--config", "mine.yaml").err
    assert "unknown key 'saveWorkspaceFrequenzy'; did you mean 'saveWorkspaceFrequency'?" in err


def test_doctor_is_content_with_an_empty_machine(terminal):
    report = terminal.ok("doctor", "--json").json
    assert report["ok"] is True
    assert {"python", "packages", "configuration", "home", "disk space", "credentials", "store"} <= {
        check["subject"] for check in report["checks"]
    }
    assert not (terminal.home / ".studioml").exists()


@pytest.mark.own_store
def test_doctor_tests_writing_where_it_is_asked_to(terminal):
    text = terminal.ok("doctor", "--write-test").out
    assert "ok    permissions: can create, read and delete" in text
    assert not list(terminal.store.rglob("doctor/*"))


def test_doctor_names_what_is_wrong(terminal):
    (terminal.folder / "mine.yaml").write_text("storrage: gs://bucket\n")
    outcome = terminal.run("doctor", "--config", "mine.yaml")
    assert outcome.code == 1
    assert "fail  configuration" in outcome.out


def on_a_terminal(terminal, *words):
    """What a command writes to a terminal."""
    master, slave = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "studio_cas.cli.main", *words],
        env=terminal.environment,
        stdout=slave,
        check=True,
        timeout=60,
    )
    os.close(slave)
    shown = os.read(master, 65536)
    os.close(master)
    return shown


def test_a_file_name_cannot_steer_a_terminal(terminal, weights):
    with open(os.fsencode(weights) + b"/\x1b]0;owned\x07", "wb"):  # noqa: PTH123
        pass
    terminal.ok("push", weights, "exp/w")
    shown = on_a_terminal(terminal, "ls", "exp/w")
    assert b"\x1b" not in shown
    assert b"\\x1b]0;owned\\x07" in shown


@pytest.mark.own_store
def test_names_that_nobody_can_have_given_hold_up_no_listing(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    for name in ("\x1b]0;owned\x07", "with blank"):
        for folder in (terminal.store / "versions" / name / "w", terminal.store / "versions" / "exp" / name):
            folder.mkdir(parents=True)
            (folder / "9999999999999998").write_bytes(b"{}")
        (terminal.store / "experiments" / name / "attempts" / "0001").mkdir(parents=True)
        (terminal.store / "experiments" / name / "attempts" / "0001" / "created").write_bytes(b"{}")
    assert on_a_terminal(terminal, "ls").split() == [b"exp"]
    for command in (("ls", "exp"), ("log", "exp"), ("du",), ("runs", "list")):
        terminal.ok(*command)


def test_a_closed_pipe_ends_quietly(pushed):
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run(
        [sys.executable, "-m", "studio_cas.cli.main", "cat", "exp/w/epoch-1.bin"],
        env=pushed.environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert finished.returncode == 141
    assert finished.stderr == b""


def test_diff_compares_a_version_with_a_folder(pushed, weights):
    assert pushed.ok("diff", "exp/w", "./weights").out == ""
    (weights / "notes.txt").write_text("loss 0.125, best so far\n")
    (weights / "new.bin").unlink()
    (weights / "extra").write_text("x")
    (weights / "junk.tmp").write_text("x")
    (weights / ".studioml_ignore").write_text("*.tmp\n")
    before = sorted(path.name for path in weights.iterdir())
    assert pushed.ok("diff", "exp/w", "./weights").out.splitlines() == [
        "+ .studioml_ignore (6 B)",
        "+ extra (1 B)",
        "- new.bin (2.0 KiB)",
        "~ notes.txt (18 B -> 24 B)",
    ]
    assert sorted(path.name for path in weights.iterdir()) == before
    pushed.fails(4, "diff", "exp/w", "./missing")
