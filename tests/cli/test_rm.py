"""`studio rm`: what it asks, what it removes, and what it says."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

pytestmark = pytest.mark.own_store


@pytest.fixture
def pushed(terminal, weights):
    for text in ("one", "two", "three"):
        (weights / "notes.txt").write_text(text)
        terminal.ok("push", weights, "exp/w")
    return weights


def numbers(terminal):
    return [one["version"] for one in terminal.ok("log", "exp/w", "--json").json]


def test_a_version_is_removed_and_what_it_needed_alone_is_freed(terminal, pushed):
    (pushed / "big").write_bytes(os.urandom(200_000))
    terminal.ok("push", pushed, "exp/w")
    told = terminal.fails(2, "rm", "exp/w@4").err
    assert "nothing was removed: --yes removes exp/w@4, and that cannot be undone" in told
    assert "would remove exp/w@4" in terminal.ok("rm", "exp/w@4", "--dry-run").out
    assert numbers(terminal) == [4, 3, 2, 1]
    out = terminal.ok("rm", "exp/w@4", "--yes").out
    assert (
        out == "removed exp/w@4\ndata that no version needs any more stay in the store until studio gc deletes them\n"
    )
    assert numbers(terminal) == [3, 2, 1]
    assert "freed 195" in terminal.ok("gc", "--grace", "0").out
    assert terminal.ok("cat", "exp/w/notes.txt").out == "three"
    assert "exp/w@5: " in terminal.ok("push", pushed, "exp/w").out


def test_an_artifact_goes_as_a_whole(terminal, pushed):
    done = terminal.ok("rm", "exp/w", "-y", "--json").json
    assert done == {
        "removed": True,
        "artifacts": [{"experiment": "exp", "tag": "w", "versions": [3, 2, 1], "reused_by": []}],
    }
    assert "experiment 'exp' has no artifacts yet" in terminal.fails(4, "rm", "exp/w", "-y").err


def test_what_a_run_reuses_is_named(terminal, pushed):
    (terminal.folder / "read.py").write_text("from studio import fs_tracker\nprint(fs_tracker.get_artifact('w'))\n")
    terminal.ok("run", "--reuse=exp/w@1:w", "-e", "reader", "--no-workspace", "read.py")
    assert "exp/w@1 is reused by reader@1" in terminal.fails(6, "rm", "exp/w@1", "--yes").err
    terminal.ok("rm", "exp/w@1", "--yes", "--force")
    assert numbers(terminal) == [3, 2]


def test_a_part_cannot_be_removed(terminal, pushed):
    assert "names a path" in terminal.fails(2, "rm", "exp/w/notes.txt", "--yes").err


@pytest.mark.parametrize(("answer", "left"), [("n", [3, 2, 1]), ("y", [3, 1])])
def test_a_person_is_asked(terminal, pushed, answer, left):
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "studio_cas.cli.main", "rm", "exp/w@2"]
    with subprocess.Popen(
        command, cwd=terminal.folder, env=terminal.environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        shown = b""
        while b"undone" not in shown:
            shown += os.read(mine, 1000)
        os.write(mine, f"{answer}\n".encode())
        code = child.wait(60)
    os.close(mine)
    assert b"remove exp/w@2? It cannot be undone" in shown
    assert code == (0 if answer == "y" else 2)
    assert numbers(terminal) == left
