"""`studio export`: an artifact as an archive, in a file or on standard output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest


@pytest.fixture
def pushed(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    return weights


def names(path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_the_archive_is_what_its_name_says(terminal, pushed):
    assert "exp/w@1 -> w.tar.gz: 3 files, 250.0 KiB, in" in terminal.ok("export", "exp/w", "w.tar.gz").out
    assert names(terminal.folder / "w.tar.gz") == ["deep", "deep/config.json", "epoch-1.bin", "latest", "notes.txt"]
    terminal.ok("export", "exp/w/deep", "w.zip")
    assert zipfile.ZipFile(terminal.folder / "w.zip").namelist() == ["config.json"]
    terminal.ok("export", "exp/w@1")
    assert tarfile.is_tarfile(terminal.folder / "w.tar")
    made = terminal.ok("export", "exp/w/notes.txt", "--format", "tar.zst", "--json").json
    assert made["path"] == "notes.txt.tar.zst"
    assert (made["version"], made["entries"], made["files"], made["size"]) == (1, 1, 1, 9)
    assert (terminal.folder / "notes.txt.tar.zst").stat().st_size == made["written"]


def test_a_pipe_and_a_file_get_the_same_bytes(terminal, pushed):
    for kind in ("tar", "tar.gz", "tar.zst", "zip"):
        terminal.ok("export", "exp/w", f"w.{kind}", "--mtime", "2026-01-01")
        piped = terminal.raw("export", "exp/w", "-", "--format", kind, "--mtime", "1767225600")
        assert piped.returncode == 0
        assert piped.stderr == b""
        assert piped.stdout == (terminal.folder / f"w.{kind}").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(terminal.raw("export", "exp/w", "-", "--format=tar").stdout)) as tar:
        assert len(tar.getnames()) == 5


def test_what_makes_no_sense_is_refused_before_anything_is_written(terminal, pushed):
    assert "--format" in terminal.fails(2, "export", "exp/w", "-").err
    assert "tar.zst" in terminal.fails(2, "export", "exp/w", "w.rar").err
    assert "not one of tar, tar.gz" in terminal.fails(2, "export", "exp/w", "--format", "rar").err
    assert "no time" in terminal.fails(2, "export", "exp/w", "--mtime", "yesterday").err
    assert "--json" in terminal.fails(2, "export", "exp/w", "-", "--format", "tar", "--json").err
    assert "has no path" in terminal.fails(4, "export", "exp/w/nothing", "w.tar").err
    assert "w.tar" not in {path.name for path in terminal.folder.iterdir()}
    terminal.ok("export", "exp/w", "w.tar")
    assert "--force" in terminal.fails(6, "export", "exp/w", "w.tar").err
    terminal.ok("export", "exp/w", "w.tar", "--force")
    assert "could not be written" in terminal.fails(9, "export", "exp/w", "no/such/w.tar").err


def test_an_archive_is_not_written_to_a_terminal(terminal, pushed):
    upper, lower = os.openpty()
    call = [sys.executable, "-m", "studio_cas.cli.main", "export", "exp/w", "-", "--format", "tar"]
    done = subprocess.run(
        call, cwd=terminal.folder, env=terminal.environment, stdout=lower, stderr=subprocess.PIPE, check=False
    )
    os.close(upper)
    os.close(lower)
    assert done.returncode == 2
    assert b"nothing for a terminal" in done.stderr


@pytest.mark.own_store
def test_damage_ends_with_5_and_leaves_no_file(terminal, pushed):
    for pack in (terminal.store / "packs").rglob("*"):
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            data[len(data) // 3] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
    assert "damaged" in terminal.fails(5, "export", "exp/w", "w.tar").err
    assert [path.name for path in terminal.folder.iterdir() if "w.tar" in path.name] == []
    piped = terminal.raw("export", "exp/w", "-", "--format", "tar")
    assert piped.returncode == 5
    with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(piped.stdout)) as tar:
        tar.getnames()


def test_a_reader_that_goes_away_is_no_error(terminal, pushed):
    (pushed / "large").write_bytes(bytes(range(256)) * 100_000)
    terminal.ok("push", pushed, "exp/w")
    line = f"{sys.executable} -m studio_cas.cli.main export exp/w - --format tar | head -c 100; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=terminal.folder, env=terminal.environment, capture_output=True, check=True
    )
    assert done.stdout.endswith(b"141\n")
    assert done.stderr == b""


def test_a_bucket_gives_the_same_bytes_as_a_folder(terminal, pushed, gcs_emulator):
    terminal.ok("export", "exp/w", "local.tar.zst")
    terminal.environment["STORAGE_EMULATOR_HOST"] = gcs_emulator.endpoint
    bucket = f"gs://{gcs_emulator.new_bucket()}"
    terminal.ok("push", pushed, "exp/w", "--store", bucket)
    terminal.ok("export", "exp/w", "cloud.tar.zst", "--store", bucket)
    assert (terminal.folder / "cloud.tar.zst").read_bytes() == (terminal.folder / "local.tar.zst").read_bytes()
