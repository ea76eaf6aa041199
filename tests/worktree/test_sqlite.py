"""Databases that a script has open: captured as one moment, with their log, and never half."""

import errno
import os
import time
from contextlib import closing

import pytest
from tests.reliability.databases import Elsewhere, last_step

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import LocalIOError
from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions
from studio_cas.worktree.capture import capture
from studio_cas.worktree.listing import entries, read_file
from studio_cas.worktree.materialise import materialise

MODES = ["wal", "delete", "truncate", "persist"]


@pytest.fixture
def store(home):
    with open_store(MemoryBackend(), home=home) as opened:
        yield opened


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def database(work, mode):
    with closing(Elsewhere(work / "m.db", mode)) as made:
        yield made


def files_of(store, version):
    return {
        os.fsdecode(one.path): b"".join(read_file(store, version, one.path))
        for one in entries(store, version)
        if one.kind == "file"
    }


def captured(store, work):
    """The result of a capture, and the files of its version; what was written is older than a tick of the clock."""
    time.sleep(0.03)
    result = capture(store, work, "exp", "tag")
    return result, files_of(store, result.version)


def test_an_open_database_is_captured_as_it_was_committed(store, work, database, out, mode):
    for number in range(1, 4):
        database.step(number)
        result, files = captured(store, work)
        assert result.stale == ()
        assert last_step(files, "m.db", out / "m") == number
        assert ("m.db-wal" in files) == (mode == "wal")
        assert "m.db-shm" not in files
        assert "m.db-journal" not in files
    again, _ = captured(store, work)
    assert (again.created, again.bytes_read, again.stale) == (False, 0, ())


def test_a_large_one_is_read_where_it_lies(store, work, database, out, monkeypatch):
    from studio_cas.worktree import reading

    monkeypatch.setattr(reading, "COPIED", 4096)
    database.step(1, blocks=100)
    assert last_step(captured(store, work)[1], "m.db", out / "m") == 1


def test_a_transaction_that_was_not_committed_is_not_in_it(store, work, database, out):
    database.step(1)
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO steps VALUES (2)")
    result, files = captured(store, work)
    assert result.stale == ()
    assert last_step(files, "m.db", out / "m") == 1
    database.execute("ROLLBACK")


def test_one_that_is_being_written_keeps_its_earlier_state(store, work, database, out, mode):
    database.step(1)
    captured(store, work)
    database.step(2)
    database.spill()
    result, files = captured(store, work)
    assert last_step(files, "m.db", out / "m") == (2 if mode == "wal" else 1)
    assert result.stale == (() if mode == "wal" else ("m.db",))
    database.execute("ROLLBACK")
    assert last_step(captured(store, work)[1], "m.db", out / "m") == 2


def test_what_is_closed_needs_nothing_beside_it(store, work, database, out):
    database.step(1)
    captured(store, work)
    database.step(2)
    database.close()
    result, files = captured(store, work)
    assert last_step(files, "m.db", out / "m") == 2
    assert (files.keys() - {"m.db-journal"}, result.stale) == ({"m.db"}, ())


def test_a_log_grows_without_its_database(store, work, out):
    with closing(Elsewhere(work / "m.db", "wal")) as database:
        database.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(1, 4):
            database.step(number)
            _, files = captured(store, work)
            assert last_step(files, "m.db", out / "m") == number
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _, files = captured(store, work)
        assert last_step(files, "m.db", out / "m") == 3
        assert files.get("m.db-wal", b"") == b""
    assert [last_step(files_of(store, one), "m.db", out / "m") for one in list_versions(store, "exp", "tag")]


def test_what_a_killed_writer_left_is_captured_with_what_undoes_it(store, work, out, mode):
    database = Elsewhere(work / "m.db", mode)
    database.step(1)
    database.spill()
    database.kill()
    result, files = captured(store, work)
    assert result.stale == ()
    assert files.keys() == ({"m.db", "m.db-wal"} if mode == "wal" else {"m.db", "m.db-journal"})
    assert last_step(files, "m.db", out / "m") == 1
    with closing(Elsewhere(work / "m.db", mode)) as again:
        again.step(2)
    assert last_step(captured(store, work)[1], "m.db", out / "m") == 2


def test_one_alone_is_captured_where_nothing_belongs_to_it(store, work, out, mode):
    with closing(Elsewhere(work / "m.db", mode)) as database:
        database.step(1)
        time.sleep(0.03)
        if mode == "wal":
            with pytest.raises(LocalIOError, match="still being written"):
                capture(store, work / "m.db", "exp", "tag")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            time.sleep(0.03)
        made = capture(store, work / "m.db", "exp", "tag")
        assert last_step(files_of(store, made.version), "m.db", out / "m") == 1


def test_files_that_are_only_named_so_are_files(store, work):
    names = {"a-wal", "b.db-shm", "c-journal", "b.db"}
    for name in names:
        (work / name).write_bytes(b"not of a database" * 100)
    _, files = captured(store, work)
    assert files.keys() == names


def test_one_that_is_still_being_copied_is_not_captured_before_it_is_whole(store, work, out):
    with closing(Elsewhere(out / "whole", "delete")) as made:
        made.step(1, blocks=100)
    data = (out / "whole").read_bytes()
    with (work / "m.db").open("wb", buffering=0) as copy:
        copy.write(data[: len(data) // 2])
        result, files = captured(store, work)
        assert (files, result.stale) == ({}, ("m.db",))
        copy.write(data[len(data) // 2 :])
    assert captured(store, work)[1] == {"m.db": data}


def test_one_that_lost_its_end_is_captured_as_it_is_when_nobody_writes_it(store, work, out):
    with closing(Elsewhere(out / "whole", "delete")) as made:
        made.step(1, blocks=100)
    (work / "m.db").write_bytes((out / "whole").read_bytes()[:8192])
    assert len(captured(store, work)[1]["m.db"]) == 8192


@pytest.mark.parametrize("suffix", ["-wal", "-journal", "-shm"])
@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_belongs_to_no_database(store, work, out, suffix, kind):
    Elsewhere(work / "m.db", "delete").close()
    (work / "z").write_bytes(b"z")
    beside = work / f"m.db{suffix}"
    if kind == "folder":
        beside.mkdir()
        (beside / "in").write_bytes(b"in")
    elif kind == "link":
        beside.symlink_to("z")
    else:
        os.mkfifo(beside)
    for number in range(2):  # the database is read, and then as it was
        (work / "z").write_bytes(b"z" * number)
        time.sleep(0.03)
        result = capture(store, work, "exp", "tag")
        assert result.stale == ()
        assert len(result.skipped) == (kind == "pipe")
        materialise(store, result.version, out / f"{number}")
        here = {path.relative_to(work) for path in work.rglob("*") if not path.is_fifo()}
        assert {path.relative_to(out / f"{number}") for path in (out / f"{number}").rglob("*")} == here
    if kind == "folder":
        (beside / "in").unlink()
        beside.rmdir()
    else:
        beside.unlink()
    assert captured(store, work)[0].stale == ()


def test_a_log_that_cannot_be_read_is_named_and_its_earlier_state_stands(store, work, out, monkeypatch):
    from studio_cas.worktree import sqlite

    with closing(Elsewhere(work / "m.db", "wal")) as database:
        database.step(1)
        captured(store, work)
        database.step(2)

        def refused(_):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(sqlite, "log_header", refused)
        result, files = captured(store, work)
        assert result.skipped == ("m.db-wal: cannot be read: Permission denied",)
        assert result.stale == ("m.db-wal",)
        assert last_step(files, "m.db", out / "m") == 1


def test_a_log_that_comes_while_the_folder_is_read_is_not_lost(store, work, out, monkeypatch):
    """The scan saw a closed database; when it is read, it has a log."""
    from studio_cas.worktree import capture as module

    Elsewhere(work / "m.db", "wal").close()
    (work / "z").write_bytes(b"z")
    opened = []

    def scanned(*arguments):
        rows = list(scan(*arguments))
        opened.append(Elsewhere(work / "m.db", "wal"))
        opened[0].step(1)
        time.sleep(0.03)
        return iter(rows)

    scan = module.scan_columns
    monkeypatch.setattr(module, "scan_columns", scanned)
    _, files = captured(store, work)
    assert last_step(files, "m.db", out / "m") == 1
    assert files.keys() == {"m.db", "m.db-wal", "z"}
    opened[0].close()


@pytest.mark.parametrize("listed", [True, False])
def test_a_log_that_goes_while_the_folder_is_read_is_kept_with_its_database(store, work, out, monkeypatch, listed):
    """The scan saw the database before a checkpoint; the log is gone after it, or was not seen at all."""
    from studio_cas.worktree import capture as module

    database = Elsewhere(work / "m.db", "wal")
    database.step(1)
    captured(store, work)
    database.step(2)
    scan = module.scan_columns

    def scanned(*arguments):
        rows = [row for row in scan(*arguments) if listed or not row[0].endswith(b"-wal")]
        database.close()
        return iter(rows)

    monkeypatch.setattr(module, "scan_columns", scanned)
    result, files = captured(store, work)
    assert last_step(files, "m.db", out / "m") == 1
    assert result.stale == ("m.db-wal",)
    monkeypatch.undo()
    result, files = captured(store, work)
    assert last_step(files, "m.db", out / "m") == 2
    assert (files.keys(), result.stale) == ({"m.db"}, ())
