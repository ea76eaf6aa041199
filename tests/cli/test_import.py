"""`studio import`: from folders, archives and buckets of others."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest

from studio_cas.backends.opening import open_backend


def tar_bytes(mode: str = "w:gz", **members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def old(terminal):
    """A folder with two archives and something else."""
    folder = terminal.folder / "old"
    folder.mkdir()
    (folder / "a.tar.gz").write_bytes(tar_bytes(notes=b"hello\n"))
    (folder / "b.tar").write_bytes(tar_bytes("w:xz", notes=b"other\n"))
    (folder / "README").write_text("read me\n")
    return folder


def test_archives_become_artifacts_and_are_not_read_twice(terminal, old):
    outcome = terminal.ok("import", "old", "exp")
    assert "a.tar.gz -> exp/a@1: 6 B" in outcome.out
    assert "2 artifacts imported, 0 there already, 1 skipped, 0 failed; 0 records of runs" in outcome.out
    assert "README: is neither an archive nor a folder" in outcome.err
    assert terminal.ok("cat", "exp/b/notes").out == "other\n"
    again = terminal.ok("import", "old", "exp", "--json").json
    assert (again["imported"], again["there"], again["skipped"], again["layout"]) == (0, 2, 1, "plain")
    assert [one["version"] for one in again["items"]] == [None, 1, 1]


def test_a_dry_run_tells_and_makes_no_store(terminal, old):
    assert "2 artifacts found" in terminal.ok("import", "old", "exp", "--dry-run").out
    assert not terminal.store.exists()


def test_what_fails_is_named_and_the_call_ends_with_8(terminal, old):
    (old / "bad.tar").write_bytes(tar_bytes("w", **{"../out": b"x"}))
    outcome = terminal.run("import", "old", "exp")
    assert outcome.code == 8
    assert "studio: bad.tar: its member '../out' has an unsafe path" in outcome.err
    assert "2 artifacts imported" in outcome.out


def test_what_makes_no_sense_is_refused(terminal, old):
    assert "called" in terminal.fails(2, "import", "old/a.tar.gz").err
    assert "--layout" in terminal.fails(2, "import", "old", "exp", "--layout", "rar").err
    assert "--only" in terminal.fails(2, "import", "old", "exp", "--only", "x").err
    assert "next version" in terminal.fails(2, "import", "old", "exp/w@3").err
    assert "no file or folder" in terminal.fails(4, "import", "nothing", "exp").err
    assert "is no size" in terminal.fails(2, "import", "old", "exp", "--max-size", "many").err


def test_an_experiment_of_somebody_else_needs_join(terminal, old):
    terminal.ok("push", old, "exp/w", STUDIOML_USER="bob")
    outcome = terminal.run("import", "old", "exp")
    assert outcome.code == 8
    assert "belongs to bob" in outcome.err
    terminal.ok("import", "old", "exp", "--join")


@pytest.mark.own_store
@pytest.mark.parametrize("cloud", ["google", "amazon"])
def test_a_bucket_of_studioml_is_imported(terminal, cloud, gcs_emulator, s3_server, monkeypatch):
    terminal.environment |= {"STORAGE_EMULATOR_HOST": gcs_emulator.endpoint, **s3_server.environment}
    for name, value in terminal.environment.items():
        if name.startswith(("AWS_", "STORAGE_")):
            monkeypatch.setenv(name, value)
    url = f"gs://{gcs_emulator.new_bucket()}/old" if cloud == "google" else f"s3://{s3_server.new_bucket()}/old"
    bucket = open_backend(url)
    bucket.prepare()
    blob = f"blobstore/{'ab' * 32}.tar.bz2"
    large = os.urandom(9_000_000)
    bucket.create(blob, [tar_bytes("w", data=large)])
    bucket.create("experiments/lr/workspace.tar", [tar_bytes("w:gz", **{"train.py": b"print(1)\n"})])
    artifacts = {"data": {"key": blob, "mutable": False}, "workspace": {"mutable": True}}
    record = {"filename": "train.py", "status": "finished", "time_added": 1.5e9, "artifacts": artifacts}
    bucket.create("experiments/lr", [json.dumps(record).encode()])
    bucket.close()
    made = terminal.ok("import", url, "--json").json
    assert (made["layout"], made["imported"], made["records"]) == ("studioml", 3, 2)
    assert terminal.raw("cat", "lr/data/data").stdout == large
    assert terminal.ok("cat", "lr/workspace/train.py").out == "print(1)\n"
    assert terminal.ok("runs", "show", "lr", "--json").json["status"] == "finished"
    assert terminal.ok("import", url, "--json").json["there"] == 3


def test_an_export_can_be_imported_again(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    for kind in ("tar", "tar.gz", "tar.zst", "zip"):
        terminal.ok("export", "exp/w", f"w.{kind}")
        terminal.ok("import", f"w.{kind}", "back/w")
    manifests = {one["manifest"] for one in terminal.ok("log", "back/w", "--json").json}
    assert manifests == {terminal.ok("info", "exp/w", "--json").json["manifest"]}


@pytest.mark.own_store
def test_an_import_that_is_killed_goes_on_and_leaves_nothing_behind(terminal, old):
    for number in range(20):
        (old / f"large-{number}.tar").write_bytes(tar_bytes("w", data=os.urandom(3_000_000)))
    call = [sys.executable, "-m", "studio_cas.cli.main", "import", "old", "exp", "--json"]
    running = subprocess.Popen(
        call, cwd=terminal.folder, env=terminal.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    versions = terminal.store / "versions" / "exp"
    deadline = time.monotonic() + 60
    while not versions.is_dir() or len(list(versions.iterdir())) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    made = terminal.ok("import", "old", "exp", "--json").json
    assert made["imported"] + made["there"] == 22
    assert made["there"] >= 2
    imports = terminal.home / ".studioml" / "imports"
    assert not [path.name for path in imports.iterdir() if path.is_dir()]
    assert {one["version"] for one in terminal.ok("log", "exp", "--json").json} == {1}
