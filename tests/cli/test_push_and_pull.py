"""`studio push` and `studio pull`, through a process."""

from __future__ import annotations

import os
import shutil
import socket

import pytest


def test_a_folder_comes_back_as_it_was(terminal, weights):
    pushed = terminal.ok("push", weights, "exp/weights")
    assert "exp/weights@1: 3 files" in pushed.out
    terminal.ok("pull", "exp/weights", "back")
    back = terminal.folder / "back"
    assert (back / "epoch-1.bin").read_bytes() == (weights / "epoch-1.bin").read_bytes()
    assert (back / "deep" / "config.json").read_text() == '{"lr": 0.1}\n'
    assert (back / "latest").readlink().name == "epoch-1.bin"


def test_an_unchanged_folder_makes_no_version_and_no_object(terminal, weights):
    terminal.ok("push", weights, "exp/weights")
    before = sorted(terminal.store.rglob("*"))
    again = terminal.ok("push", weights, "exp/weights")
    assert again.out == "exp/weights: unchanged, still version 1\n"
    assert sorted(terminal.store.rglob("*")) == before


def test_a_push_prints_json(terminal, weights):
    record = terminal.ok("push", weights, "exp/weights", "--json").json
    assert (record["experiment"], record["tag"], record["version"], record["created"]) == ("exp", "weights", 1, True)
    assert record["files"] == 3
    assert record["size"] == record["bytes_read"] > 0
    assert record["stale"] == record["skipped"] == []
    assert terminal.ok("push", weights, "exp/weights", "--json").json["created"] is False


def test_excluded_files_are_left_out(terminal, weights):
    terminal.ok("push", weights, "exp/weights", "--exclude", "*.bin", "--exclude", "latest")
    terminal.ok("pull", "exp/weights", "back")
    assert sorted(path.name for path in (terminal.folder / "back").iterdir()) == ["deep", "notes.txt"]


def test_a_single_file_is_an_artifact(terminal, weights):
    terminal.ok("push", weights / "notes.txt", "exp/notes")
    terminal.ok("pull", "exp/notes")
    assert (terminal.folder / "notes").read_text() == "loss 0.5\n"
    assert terminal.ok("cat", "exp/notes").out == "loss 0.5\n"


def test_a_pull_goes_to_the_tag_or_to_the_last_part_of_the_path(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    terminal.ok("pull", "exp/w")
    terminal.ok("pull", "exp/w/deep/config.json")
    terminal.ok("pull", "exp/w/deep")
    assert (terminal.folder / "w" / "notes.txt").exists()
    assert (terminal.folder / "config.json").read_text() == '{"lr": 0.1}\n'
    assert (terminal.folder / "deep" / "config.json").exists()


def test_a_single_file_goes_into_a_folder_that_is_written_with_a_slash(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    terminal.ok("push", weights / "notes.txt", "exp/file")
    for number, name in enumerate(["exp/w/notes.txt", "exp/file", "exp/w/deep/config.json", "exp/w/latest"]):
        terminal.ok("pull", name, f"there-{number}/")
    assert (terminal.folder / "there-0" / "notes.txt").read_text() == "loss 0.5\n"
    assert (terminal.folder / "there-1" / "notes.txt").read_text() == "loss 0.5\n"
    assert (terminal.folder / "there-2" / "config.json").exists()
    assert (terminal.folder / "there-3" / "latest").is_symlink()
    terminal.ok("pull", "exp/w/deep", "there-4/")
    assert (terminal.folder / "there-4" / "config.json").exists()
    terminal.ok("pull", "exp/w/notes.txt", "plain")
    assert (terminal.folder / "plain").is_file()


def test_a_file_that_is_being_written_is_named(terminal, weights):
    with (weights / "busy").open("w") as busy:
        busy.write("half")
        busy.flush()
        outcome = terminal.run("push", weights, "exp/w")
        alone = terminal.fails(9, "push", weights / "busy", "exp/busy")
    assert outcome.code == 8
    assert "studio: busy is still being written: its earlier content stands, if it has any\n" in outcome.err
    assert "busy could not be captured: it is still being written" in alone.err
    assert "busy" not in terminal.ok("ls", "exp/w").out


@pytest.mark.own_store
def test_a_pack_that_a_push_finds_damaged_is_named_and_not_used(terminal, weights):
    for number in range(8):
        (weights / f"note-{number}").write_bytes(os.urandom(3000))
        pushed = terminal.run("push", weights, "exp/weights", "--json")
        assert (pushed.code, pushed.err, pushed.json["damaged"]) == (0, "", [])
        if number == 3:
            newest = max((terminal.store / "packs").glob("*/*"), key=lambda path: path.stat().st_mtime_ns)
            newest.chmod(0o644)
            newest.write_bytes(newest.read_bytes()[:500] + b"damage" + newest.read_bytes()[506:])
    (weights / "one-more").write_bytes(os.urandom(3000))
    pushed = terminal.run("push", weights, "exp/weights")
    assert pushed.code == 0
    assert f"pack {newest.name} is damaged" in pushed.err
    assert terminal.run("pull", "exp/weights", "here").code == 0
    assert terminal.run("pull", "exp/weights@5", "there").code != 0


def test_a_pull_over_a_pull_updates_it_deletions_included(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    terminal.ok("pull", "exp/w", "back")
    (weights / "notes.txt").unlink()
    (weights / "epoch-2.bin").write_bytes(b"2" * 100)
    terminal.ok("push", weights, "exp/w")
    planned = terminal.ok("pull", "exp/w", "back", "--dry-run")
    assert "- notes.txt" in planned.out
    assert "+ epoch-2.bin" in planned.out
    back = terminal.folder / "back"
    assert (back / "notes.txt").exists()
    pulled = terminal.ok("pull", "exp/w", "back", "--json").json
    assert (pulled["files_written"], pulled["files_deleted"], pulled["version"]) == (1, 1, 2)
    assert not (back / "notes.txt").exists()
    assert (back / "epoch-2.bin").read_bytes() == b"2" * 100


def test_an_older_version_comes_back_by_number_and_by_distance(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    (weights / "notes.txt").write_text("loss 0.25\n")
    terminal.ok("push", weights, "exp/w")
    assert terminal.ok("cat", "exp/w@1/notes.txt").out == "loss 0.5\n"
    assert terminal.ok("cat", "exp/w@-1/notes.txt").out == "loss 0.5\n"
    assert terminal.ok("cat", "exp/w/notes.txt").out == "loss 0.25\n"


def test_a_push_that_fails_leaves_a_name_that_its_owner_uses_later(terminal, weights):
    """The name is taken first, and nobody needs the right to delete; an experiment without artifacts harms nothing."""
    os.mkfifo(terminal.folder / "pipe")
    terminal.fails(2, "push", "pipe", "exp/w")
    assert terminal.ok("ls").out == "exp\n"
    assert terminal.ok("ls", "exp", "--json").json == []
    terminal.fails(4, "pull", "exp/w")
    assert "belongs to" in terminal.fails(6, "push", weights, "exp/w", STUDIOML_USER="bob").err
    assert "exp/w@1: " in terminal.ok("push", weights, "exp/w").out


def test_include_and_exclude_choose_files(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    terminal.ok("pull", "exp/w", "some", "--include", "*.txt", "--include", "*.json", "--exclude", "notes*")
    found = [path.name for path in (terminal.folder / "some").rglob("*") if path.is_file()]
    assert found == ["config.json"]
    refused = terminal.fails(4, "pull", "exp/w", "none", "--include", "*.pt")
    assert "exp/w@1 has nothing that fits --include '*.pt'; nothing was written" in refused.err
    terminal.fails(4, "pull", "exp/w/notes.txt", "none", "--include", "*.pt")
    assert not (terminal.folder / "none").exists()


def test_a_destination_with_other_content_needs_force(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    mine = terminal.folder / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    refused = terminal.fails(6, "pull", "exp/w", "mine")
    assert "--force" in refused.err
    assert (mine / "thesis.tex").read_text() == "years of work"
    terminal.ok("pull", "exp/w", "mine", "--force")
    assert (mine / "notes.txt").exists()


def test_an_unreadable_file_is_named_and_the_rest_is_stored(unprivileged, weights):
    (weights / "secret").write_text("x")
    (weights / "secret").chmod(0)
    outcome = unprivileged.run("push", weights, "exp/w")
    assert outcome.code == 8
    assert "secret" in outcome.err
    assert "exp/w@1: 3 files" in outcome.out


def test_nothing_that_can_be_read_ends_with_9(unprivileged, weights):
    (weights / "notes.txt").chmod(0)
    (weights / "deep").chmod(0)
    assert "notes.txt" in unprivileged.fails(9, "push", weights / "notes.txt", "exp/w").err
    assert "deep" in unprivileged.fails(9, "push", weights / "deep", "exp/w").err
    (weights / "deep").chmod(0o700)


def test_what_is_no_file_is_named_and_the_rest_is_stored(terminal, weights):
    os.mkfifo(weights / "a-pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(weights, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/a-socket")
        finally:
            os.close(here)
        outcome = terminal.run("push", weights, "exp/w")
    assert outcome.code == 8
    assert "a-pipe" in outcome.err
    assert "a-socket" in outcome.err
    assert "exp/w@1: 3 files" in outcome.out


def test_a_store_may_be_any_folder(terminal, weights):
    terminal.ok("push", weights, "exp/w", "--store", "shared")
    assert (terminal.folder / "shared" / "format.json").exists()
    assert terminal.ok("--store", "shared", "ls").out == "exp\n"
    assert not terminal.store.exists()


@pytest.mark.own_store
def test_a_home_may_be_any_folder(terminal, weights):
    terminal.ok("push", weights, "exp/w", "--home", terminal.folder / "elsewhere")
    assert (terminal.folder / "elsewhere" / "store" / "format.json").exists()
    assert not (terminal.home / ".studioml").exists()


def test_odd_names_come_back(terminal, weights):
    odd = {
        os.fsdecode(name) for name in (b"with space", b"new\nline", b"\xff\xfe", b"-dash", b"\x1b[31mred", b"n" * 255)
    }
    for name in odd:
        (weights / name).write_text(name, errors="surrogateescape")
    terminal.ok("push", weights, "exp/w")
    terminal.ok("pull", "exp/w", "back")
    assert {path.name for path in (terminal.folder / "back").iterdir()} == {path.name for path in weights.iterdir()}
    assert odd <= {entry["path"] for entry in terminal.ok("ls", "exp/w", "--json").json}
    assert b"\xff\xfe" in terminal.raw("ls", "exp/w").stdout
    assert terminal.raw("cat", b"exp/w/\xff\xfe").stdout == b"\xff\xfe"


@pytest.mark.parametrize(
    "arguments",
    [
        ["push", "weights", "no-tag"],
        ["push", "weights", "exp/w@3"],
        ["push", "weights", "exp/w/part"],
        ["push", "weights", "../w"],
        ["push", "weights", "exp/.."],
        ["push", "weights"],
        ["pull", "exp/w", "--links", "perhaps"],
        ["pull", "exp/w@"],
        ["log", "exp/w", "--limit", "many"],
        ["nonsense"],
        ["push", "weights", "exp/w", "--nonsense"],
        ["push", "", "exp/w"],
        ["push", "~no-such-user/weights", "exp/w"],
        ["push", "weights", "exp/w", "--store", ""],
        ["--store", "", "push", "weights", "exp/w"],
        ["pull", "exp/w", ""],
        ["info", "exp/w/part"],
        ["log", "exp/w@1"],
        ["log", "exp/w/part"],
        ["diff", "exp/w/part", "exp/w"],
        ["diff", "./weights", "exp/w"],
        ["push", "weights", "exp/w", "--config", "missing.yaml"],
        ["push", "weights", "exp/w", "--store", "ftp://host/path"],
    ],
)
def test_a_wrong_argument_ends_with_2(terminal, weights, arguments):
    terminal.fails(2, *arguments)


def test_an_experiment_of_another_user_needs_join(terminal, weights):
    terminal.ok("push", weights, "exp/w", STUDIOML_USER="ann")
    refused = terminal.fails(6, "push", weights, "exp/w", STUDIOML_USER="bob")
    assert "ann" in refused.err
    assert "--join" in refused.err
    assert "--experiment" not in refused.err  # push has no such option
    terminal.ok("push", weights, "exp/w", "--join", STUDIOML_USER="bob")


def test_an_unknown_name_ends_with_4_and_names_what_there_is(terminal, weights):
    terminal.ok("push", weights, "exp/weights")
    terminal.ok("push", weights, "exp/data")
    assert "data, weights" in terminal.fails(4, "pull", "exp/wieghts").err
    assert "exp" in terminal.fails(4, "pull", "epx/weights").err
    assert "has no version -1: it has 1 in all" in terminal.fails(4, "pull", "exp/weights@-1").err
    assert "latest is 1" in terminal.fails(4, "pull", "exp/weights@7").err
    assert "nothing.txt" in terminal.fails(4, "pull", "exp/weights/nothing.txt").err
    assert "nothing.txt" in terminal.fails(4, "cat", "exp/weights/nothing.txt").err
    assert "there are: exp" in terminal.fails(4, "ls", "other").err
    assert "there are: exp" in terminal.fails(4, "log", "other").err
    terminal.fails(4, "push", "missing", "exp/weights")


def test_a_store_that_is_not_there_ends_with_3(terminal):
    assert "no store" in terminal.fails(3, "ls").err
    assert not (terminal.home / ".studioml" / "store").exists()


def test_an_unreachable_bucket_ends_with_3(terminal, weights):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        host = f"http://127.0.0.1:{unused.getsockname()[1]}"
        terminal.fails(3, "push", weights, "exp/w", "--store", "gs://bucket", STORAGE_EMULATOR_HOST=host)


@pytest.mark.own_store
def test_a_damaged_pack_ends_with_5_and_writes_nothing(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    for pack in (terminal.store / "packs").rglob("*"):
        if pack.is_file():
            content = bytearray(pack.read_bytes())
            content[len(content) // 3] ^= 0x10
            pack.chmod(0o644)
            pack.write_bytes(content)
    shutil.rmtree(terminal.home / ".studioml" / "blobcache", ignore_errors=True)
    damaged = terminal.fails(5, "pull", "exp/w", "back")
    assert "exp/w" in damaged.err
    assert not (terminal.folder / "back" / "epoch-1.bin").exists()


def test_a_file_that_is_not_a_store_ends_with_a_sentence(terminal, weights):
    folder = terminal.folder / "notes"
    folder.mkdir()
    (folder / "format.json").write_text("{}")
    terminal.fails(5, "push", weights, "exp/w", "--store", folder)


def test_a_store_that_may_not_be_written_ends_with_3(unprivileged, weights):
    (unprivileged.folder / "shared").mkdir(mode=0o500)
    unprivileged.fails(3, "push", weights, "exp/w", "--store", "shared")


def test_a_destination_that_may_not_be_written_ends_with_9(unprivileged, weights):
    unprivileged.ok("push", weights, "exp/w")
    (unprivileged.folder / "closed").mkdir(mode=0o500)
    unprivileged.fails(9, "pull", "exp/w", "closed/w")


def test_a_home_that_may_not_be_written_ends_with_a_sentence(unprivileged, weights):
    unprivileged.home.chmod(0o500)
    outcome = unprivileged.run("push", weights, "exp/w")
    assert outcome.code in {3, 9}
    assert outcome.err.startswith("studio: ")
    assert outcome.err.count("\n") == 1
