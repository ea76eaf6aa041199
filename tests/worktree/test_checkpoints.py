"""The newest complete checkpoint in a folder."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import subprocess
import sys
import zipfile
from contextlib import closing

import pytest

from studio_cas.worktree import completeness, steady
from studio_cas.worktree.checkpoints import newest_checkpoint

AGES = iter(range(10**6))


def write(path, data=b"x", at=None):
    """Write a file that is so many seconds old; each is newer than the one before unless `at` says when it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    when = 10**9 + (next(AGES) if at is None else at)
    os.utime(path, (when, when))
    return path


def zipped(path, at=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"weights" * 1000)
    return write(path, path.read_bytes(), at)


def safetensors(size=1000):
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"w" * size


def hdf5(version, *, size=1000, end=1000, open_for_writing=False):
    """A superblock as h5py 3.16 writes it (libver earliest and latest), and zeros."""
    if version == 0:
        head = bytes([0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0, open_for_writing, 0, 0, 0]) + struct.pack(
            "<QQQ", 0, 2**64 - 1, end
        )
    else:
        head = bytes([version, 8, 8, open_for_writing]) + struct.pack("<QQQ", 0, 2**64 - 1, end)
    return (completeness.HDF5_MAGIC + head).ljust(size, b"\0")[:size]


def test_the_newest_of_several_files(work):
    for step in (2, 10, 9):
        zipped(work / f"epoch={step}.ckpt")
    assert newest_checkpoint(work) == work / "epoch=9.ckpt"


def test_numbers_decide_between_equal_times(work):
    for step in (9, 10, 2):
        zipped(work / f"step-{step}.pt", at=0)
    assert newest_checkpoint(work) == work / "step-10.pt"


def test_nothing_is_none(work):
    assert newest_checkpoint(work) is None
    assert newest_checkpoint(work / "missing") is None
    write(work / "empty.pt", b"")
    write(work / ".hidden.pt")
    write(work / "new.pt.tmp")
    assert newest_checkpoint(work) is None


def test_a_single_file_is_its_own_checkpoint(work):
    assert newest_checkpoint(zipped(work / "model.pt")) == work / "model.pt"


@pytest.mark.parametrize("name", ["model.pt", "model.keras", "last.ckpt"])
def test_a_zip_that_was_cut_off_is_passed_over(work, name):
    older = zipped(work / "older.pt")
    whole = zipped(work / name).read_bytes()
    write(work / name, whole[:-30])
    assert newest_checkpoint(work) == older


def test_safetensors_that_were_cut_off_are_passed_over(work):
    older = write(work / "a.safetensors", safetensors())
    write(work / "b.safetensors", safetensors()[:-1])
    assert newest_checkpoint(work) == older


@pytest.mark.parametrize("version", [0, 2, 3])
def test_hdf5_that_was_cut_off_or_left_open_is_passed_over(work, version):
    older = write(work / "a.weights.h5", hdf5(version))
    write(work / "b.weights.h5", hdf5(version, size=999))
    write(work / "c.weights.h5", hdf5(version, size=20))
    if version != 2:  # the second version has no flag
        write(work / "d.weights.h5", hdf5(version, open_for_writing=True))
    assert newest_checkpoint(work) == older


def test_hdf5_with_what_we_do_not_know_is_left_to_settle():
    for data in (hdf5(0, size=2000), hdf5(3, size=2000)):
        assert completeness.probe(b"a.h5", len(data), lambda at, n, data=data: data[at : at + n]) is None
    unknown = completeness.HDF5_MAGIC + b"\x09" * 100
    assert completeness.probe(b"a.h5", len(unknown), lambda at, n: unknown[at : at + n]) is False


def test_a_file_that_is_being_written_is_passed_over(work):
    older = zipped(work / "older.pt")
    newer = zipped(work / "newer.pt")
    with newer.open("r+b") as file, older.open("rb") as still:
        if steady.unwritten(still.fileno()) is None:
            pytest.skip("the file system grants no leases")
        assert newest_checkpoint(work) == older
        file.flush()
    assert newest_checkpoint(work) == newer


def test_one_that_was_written_just_now_is_found(work):
    (work / "new.bin").write_bytes(b"x")
    assert newest_checkpoint(work) == work / "new.bin"


def trainer(folder, *, state=True, weights=None):
    write(folder / "model.safetensors", weights or safetensors())
    write(folder / "optimizer.pt", zipped(folder / "optimizer.pt").read_bytes())
    if state:
        write(folder / "trainer_state.json", b'{"global_step": 1}')
    return folder


def test_a_trainers_folder_counts_once_its_state_is_there(work):
    first = trainer(work / "checkpoint-500")
    trainer(work / "checkpoint-1000", state=False)
    assert newest_checkpoint(work) == first
    second = trainer(work / "checkpoint-1000")
    assert newest_checkpoint(work) == second
    write(second / "trainer_state.json", b'{"global_step": ')
    assert newest_checkpoint(work) == first
    trainer(work / "checkpoint-1000", weights=safetensors()[:-5])
    assert newest_checkpoint(work) == first


def test_a_distributed_checkpoint_counts_once_its_metadata_is_there(work):
    write(work / "step-1" / "__0_0.distcp")
    write(work / "step-1" / ".metadata")
    write(work / "step-2" / "__0_0.distcp")
    write(work / "step-2" / ".metadata.tmp")
    assert newest_checkpoint(work) == work / "step-1"
    write(work / "step-2" / ".metadata")
    assert newest_checkpoint(work) == work / "step-2"
    assert newest_checkpoint(work / "step-2") == work / "step-2"


def test_sharded_weights_count_once_all_shards_are_there(work):
    older = zipped(work / "older.pt")
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    write(work / "llm" / "model-1-of-2.safetensors", safetensors())
    write(work / "llm" / "model.safetensors.index.json", json.dumps(index).encode())
    assert newest_checkpoint(work) == older
    write(work / "llm" / "model-2-of-2.safetensors", safetensors())
    assert newest_checkpoint(work) == work / "llm"
    write(work / "llm" / "model.safetensors.index.json", b'{"weight_map": []}')
    assert newest_checkpoint(work) == older


def test_other_files_count_only_where_nothing_is_named_as_a_checkpoint(work):
    write(work / "deep" / "state")
    newest = write(work / "weights-9")
    assert newest_checkpoint(work) == newest
    model = write(work / "deep" / "model.npy")
    write(work / "metrics.csv")
    assert newest_checkpoint(work) == model


def test_links_in_a_circle_end(work):
    (work / "loop").symlink_to(work)
    model = zipped(work / "model.pt")
    (work / "last.pt").symlink_to(model)
    assert newest_checkpoint(work).resolve() == model
    (work.parent / "link").symlink_to(work)
    assert newest_checkpoint(work.parent / "link").resolve() == model


def test_what_cannot_be_read_is_passed_over(work, monkeypatch):
    older = zipped(work / "older.pt")
    newer = zipped(work / "newer.pt")
    real = os.open

    def refusing(path, *words, **options):
        if str(path) == str(newer):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *words, **options)

    monkeypatch.setattr(os, "open", refusing)
    assert newest_checkpoint(work) == older


@pytest.mark.parametrize("folder", [".", "checkpoint-5"])
def test_the_locks_that_a_script_has_on_a_database_stay(work, folder):
    """Closing any descriptor of a file drops them all, also of one that was only looked at."""
    write(work / folder / "trainer_state.json", b"{}")
    with closing(sqlite3.connect(work / folder / "study.db", isolation_level=None)) as ours:
        ours.execute("CREATE TABLE trials (id INTEGER)")
        ours.execute("BEGIN IMMEDIATE")
        ours.execute("INSERT INTO trials VALUES (1)")
        newest_checkpoint(work)
        attempt = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
        other = subprocess.run(
            [sys.executable, "-c", attempt, work / folder / "study.db"], capture_output=True, text=True, check=False
        )
        assert "database is locked" in other.stderr
        ours.execute("COMMIT")
