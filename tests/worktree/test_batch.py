"""Small files that are read ahead by the compiled loops: what is given, what is left, and that nothing differs."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import closing, suppress

import pytest
from tests.reliability.folders import as_nobody, snapshot

from studio_cas import native
from studio_cas.ids import digest
from studio_cas.store.ingest import GROUP_SIZE, Ingest
from studio_cas.store.store import open_store
from studio_cas.worktree import batch as module
from studio_cas.worktree import steady
from studio_cas.worktree.batch import Batches
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise
from studio_cas.worktree.scan import scan, scan_columns

NATIVE = pytest.mark.skipif(native.library() is None, reason="the compiled loops are not in use")
OLD = time.time_ns() - 3_600_000_000_000


def write(path, data, *, age=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if age:
        os.utime(path, ns=(OLD, OLD))
    return path


def let_times_become_old():
    """No time of a file may be younger than a tick of the clock."""
    time.sleep(2 * steady.TICK_NS / 1e9)


@pytest.fixture
def many(work):
    """Small files of all sizes, which fill several batches."""
    source = random.Random(5)
    for number in range(300):
        size = source.choice([0, 1, 40, 2048, 2049, 5000, 20_000, 65_535])
        write(work / f"part-{number % 7}" / f"file-{number}", source.randbytes(size // 2) + bytes(size - size // 2))
    let_times_become_old()
    return work


class Ahead:
    """Batches of a folder, as the walk uses them."""

    def __init__(self, store, folder):
        self.folder = os.open(folder, os.O_RDONLY)
        self.ingest = Ingest(store, lambda _: False)
        self.batches = Batches(self.folder, store.config, self.ingest)
        self.rows = list(scan_columns(self.folder, None, set(), lambda path, why: pytest.fail(f"{path}: {why}")))

    def read(self):
        """What was given of each file: its literal, or the ids of its chunks."""
        self.batches.begin(self.rows, None)
        taken = {row[0]: self.batches.take(row[0]) for row in self.rows if row[1]}
        self.ingest.flush()
        assert not self.batches.waiting
        return {path: one and (one.chunks.ids if one.chunks else one.literal) for path, one in taken.items()}

    def close(self):
        self.ingest.close()
        os.close(self.folder)


@pytest.fixture
def ahead(store):
    with_folder = []

    def begin(folder):
        with_folder.append(Ahead(store, folder))
        return with_folder[0]

    yield begin
    for one in with_folder:
        one.close()


@NATIVE
def test_what_is_read_ahead_is_what_the_files_hold(many, ahead, store):
    found = ahead(many).read()
    assert len(found) == 300
    for path, held in found.items():
        data = (many / os.fsdecode(path)).read_bytes()
        assert held == (data if len(data) <= store.config.inline_limit else [digest(data)]), path


def grown(path):
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(OLD, OLD))


def replaced(make):
    def replace(path):
        path.unlink()
        make(path)

    return replace


CHANGES = {
    "grown": grown,
    "shrunk": lambda path: os.truncate(path, 7),
    "vanished": lambda path: path.unlink(),
    "touched": lambda path: path.touch(),
    "a link": replaced(lambda path: path.symlink_to("file-1")),
    "a FIFO": replaced(os.mkfifo),
    "a folder": replaced(lambda path: path.mkdir()),
    "another file": replaced(lambda path: path.write_bytes(b"another")),
    "its mode": lambda path: path.chmod(0o600),
}


@NATIVE
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["part-0/file-49", "part-0/file-0"])
def test_a_file_that_changed_since_the_scan_is_left_to_others(many, ahead, change, name):
    one = ahead(many)
    CHANGES[change](many / name)
    let_times_become_old()
    found = one.read()
    assert found.pop(os.fsencode(name)) is None
    assert None not in found.values()


@NATIVE
@pytest.mark.parametrize("mode", ["r+b", "ab"])
def test_a_file_that_is_open_for_writing_is_left_to_others(many, ahead, mode):
    one = ahead(many)
    with (many / "part-0" / "file-49").open(mode):
        found = one.read()
    assert found.pop(b"part-0/file-49") is None
    assert None not in found.values()


@NATIVE
def test_a_file_that_was_written_just_now_is_left_to_others(many, ahead, monkeypatch):
    write(many / "young", b"y" * 5000, age=False)
    one = ahead(many)
    monkeypatch.setattr(steady, "TICK_NS", 60_000_000_000)  # its time is younger than the tick of such a clock
    found = one.read()
    assert set(found.values()) == {None}  # the times of change of all inodes are


@NATIVE
def test_what_has_rules_of_its_own_is_left_to_others(work, ahead):
    for name in ("a.log", "b.jsonl", "events.out.tfevents.1", "output", "c.db-wal", "d-journal", "e-shm"):
        write(work / name, b"x" * 3000)
    write(work / "large", bytes(64 * 1024))
    write(work / "f.db", b"SQLite format 3\0" + b"x" * 3000)
    write(work / "plain", b"x" * 3000)
    write(work / "plainer", b"y")
    with suppress(OSError):  # 2286: more nanoseconds than files.c counts, where the file system has such times
        os.utime(write(work / "beyond", b"x" * 3000), (10**10, 10**10))
    if (work / "beyond").stat().st_mtime != 10**10:
        (work / "beyond").unlink()
    let_times_become_old()
    assert {path for path, held in ahead(work).read().items() if held is not None} == {b"plain", b"plainer"}


@NATIVE
def test_all_names_are_read_as_they_are(work, ahead):
    names = [b"n" * 255, b"\xff\xfe not UTF-8", b"line\nbreak", "größe".encode(), b" ", b"-", b"..."]
    for name in names:
        with open(os.fsencode(work) + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(name * 3)
    let_times_become_old()
    assert ahead(work).read() == {name: name * 3 for name in names}


@NATIVE
def test_signals_meanwhile_change_nothing(many, ahead):
    one, stop, calls = ahead(many), threading.Event(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))

    def send():
        while not stop.wait(0.0002):
            os.kill(os.getpid(), signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(5):
            assert None not in one.read().values()
    finally:
        stop.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert calls


@NATIVE
def test_without_leases_nothing_more_is_read_ahead(many, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    for path in (many, *many.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for path in (tmp_path, *list(tmp_path.parents)[:3]):
        path.chmod(path.stat().st_mode | 0o755)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o777)

    def read():
        theirs = tmp_path / "theirs"
        with open_store(theirs / "store", home=theirs / "home") as store, closing(Ahead(store, many)) as one:
            before = one.batches.wanted
            found = one.read()
            return before, one.batches.wanted, set(found.values())

    assert as_nobody(read) == "(True, False, {None})"


def captured(home, work, *, library):
    """What a capture into a new store says, and what it gives back."""
    with pytest.MonkeyPatch.context() as patch:
        if not library:
            patch.setattr(native, "library", lambda: None)
        with open_store(home / "store", home=home) as store:
            found = capture(store, work, "exp", "tag")
            materialise(store, found.version, home / "back")
            again = capture(store, work, "exp", "tag")
    assert (again.created, again.bytes_read) == (False, 0)
    return found.version.manifest_id, found.files, found.bytes_read, found.stale, found.skipped, snapshot(home / "back")


@NATIVE
def test_a_capture_is_the_same_with_and_without(many, tmp_path):
    write(many / "large", random.Random(1).randbytes(300_000))
    write(many / "same" / "one", b"twice" * 2000)
    write(many / "same" / "two", b"twice" * 2000)
    write(many / "part-3" / "run.log", b"line\n" * 900)
    write(many / "program", b"#!/bin/sh\n" * 300).chmod(0o755)
    (many / "part-3" / "link").symlink_to("run.log")
    os.mkfifo(many / "part-3" / "fifo")
    let_times_become_old()
    with_library = captured(tmp_path / "with", many, library=True)
    assert with_library == captured(tmp_path / "without", many, library=False)
    assert with_library[5] == {path: kind for path, kind in snapshot(many).items() if kind != ("special",)}


@NATIVE
def test_new_files_among_known_ones_are_read_ahead_and_known_ones_not_at_all(many, store, monkeypatch):
    capture(store, many, "exp", "tag")
    for number in range(40):
        write(many / "part-2" / f"new-{number}", bytes([number]) * 3000)
    let_times_become_old()
    begun = []
    begin = module.Batches._submit
    monkeypatch.setattr(module.Batches, "_submit", lambda self, rows: (begun.extend(rows), begin(self, rows)))
    found = capture(store, many, "exp", "tag")
    assert found.bytes_read == 40 * 3000
    assert {row[0] for row in begun} <= {b"part-2/new-%d" % number for number in range(40)}
    assert len(begun) > 30


@NATIVE
def test_frames_are_as_large_as_they_are_elsewhere(work, store):
    for number in range(150):
        write(work / f"file-{number}", random.Random(number).randbytes(4000))
    let_times_become_old()
    found = capture(store, work, "exp", "tag")
    frames = {}
    for chunk_id in (digest((work / f"file-{number}").read_bytes()) for number in range(150)):
        place = store.catalog.lookup([chunk_id])[chunk_id]
        frames[place.offset] = place.plain
    assert found.new_chunks == 150
    assert sorted(frames.values())[1:] == [sorted(frames.values())[1]] * (len(frames) - 1)
    assert max(frames.values()) >= GROUP_SIZE


def rows_of(folder, monkeypatch, *, library):
    if not library:
        monkeypatch.setattr(native, "library", lambda: None)
    opened, said = os.open(folder, os.O_RDONLY), []
    try:
        return list(scan(opened, None, set(), lambda path, why: said.append((path, why)))), said
    finally:
        os.close(opened)


@NATIVE
def test_the_scan_sees_the_same_with_and_without(many, monkeypatch):
    for number in range(2500):  # more than are listed at once
        (many / f"{number:0>200}").touch()
    (many / "executable").touch(0o755)
    (many / "link").symlink_to("nowhere")
    os.mkfifo(many / "fifo")
    for name, seconds in (("early", -9_300_000_000), ("first", -9_200_000_000), ("late", 9_300_000_000)):
        (many / name).touch()
        os.utime(many / name, (seconds, seconds))
    (many / os.fsdecode(b"\xff" * 255)).write_bytes(b"x")
    deep = many.joinpath(*["d" * 200] * 16)  # a path that is longer than what the library is given
    deep.mkdir(parents=True)
    (deep / "below").write_bytes(b"y")
    found, said = rows_of(many, monkeypatch, library=True)
    assert (found, said) == rows_of(many, monkeypatch, library=False)
    assert said == [(b"fifo", "is a FIFO, and is left out")]
    assert len(found) > 2800
