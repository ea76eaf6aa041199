"""What capture and pull tell of themselves: whole amounts, from one thread, and an end in any case."""

import os
import threading

import pytest

from studio_cas.errors import StudioError
from studio_cas.progress import Silent
from studio_cas.worktree import blobcache
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

SIZES = {"big": 3_000_000, "small": 5000, "tiny": 40, "empty": 0}


class Told:
    """A Progress that remembers."""

    def __init__(self):
        self.labels = []
        self.totals = []
        self.bytes = 0
        self.files = 0
        self.finished = 0
        self.threads = set()

    def start(self, label, total_bytes=None):
        self.labels.append(label)
        self.totals.append(total_bytes)
        self.threads.add(threading.get_ident())

    def advance(self, count, files=0):
        assert self.labels
        assert count >= 0
        self.bytes += count
        self.files += files
        self.threads.add(threading.get_ident())

    def finish(self):
        self.finished += 1
        self.threads.add(threading.get_ident())


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def model(work):
    for name, size in SIZES.items():
        (work / name).write_bytes(os.urandom(size))
        os.utime(work / name, ns=(10**18, 10**18))
    return work


TOTAL = sum(SIZES.values())


def test_a_file_that_has_to_be_read_again_is_told_once(store, model, told, monkeypatch):
    """It was written within a tick of the clock: nobody can say yet that it held still."""
    from studio_cas.worktree import steady

    answers = [steady.TICK_NS, 0, 0, 0]
    monkeypatch.setattr(steady, "wait_after", lambda *_: answers.pop(0))
    capture(store, model / "big", "exp", "tag", progress=told)
    assert (told.bytes, answers) == (SIZES["big"], [0, 0])


@pytest.mark.parametrize("again", [False, True])
def test_a_capture_tells_all_bytes_and_files(store, model, told, again):
    if again:
        capture(store, model, "exp", "tag")
    capture(store, model, "exp", "tag", progress=told)
    assert (told.labels, told.totals) == (["capture exp/tag"], [None])
    assert (told.bytes, told.files) == (TOTAL, len(SIZES))
    assert told.finished >= 1
    assert told.threads == {threading.get_ident()}


def test_a_pull_tells_its_total_first_and_then_all_of_it(store, model, told, out):
    version = capture(store, model, "exp", "tag").version
    materialise(store, version, out / "here", progress=told)
    assert (told.labels, told.totals, told.bytes) == (["pull exp/tag@1"], [TOTAL], TOTAL)
    assert told.finished == 1
    assert told.threads == {threading.get_ident()}


def test_holes_count_as_well(store, work, told, out):
    with (work / "sparse").open("wb") as file:
        file.truncate(5_000_000)
        file.seek(4_000_000)
        file.write(b"data")
    os.utime(work / "sparse", ns=(10**18, 10**18))
    version = capture(store, work, "exp", "tag").version
    materialise(store, version, out / "here", progress=told)
    assert (told.totals, told.bytes) == ([5_000_000], 5_000_000)
    assert (out / "here" / "sparse").read_bytes() == (work / "sparse").read_bytes()


def test_a_pull_from_the_blobcache_tells_the_same(store, model, told, out):
    version = capture(store, model, "exp", "tag").version
    blobcache.ensure(store, version)
    materialise(store, version, out / "here", progress=told)
    assert (told.totals, told.bytes) == ([TOTAL], TOTAL)


def test_an_update_tells_what_differs(store, model, told, out):
    materialise(store, capture(store, model, "exp", "tag").version, out / "here")
    (model / "small").write_bytes(os.urandom(7000))
    materialise(store, capture(store, model, "exp", "tag").version, out / "here", progress=told)
    assert (told.labels, told.totals, told.bytes) == (["pull exp/tag@2"], [7000], 7000)


@pytest.mark.own_store
def test_work_that_fails_ends_as_well(store, model, told, out):
    version = capture(store, model, "exp", "tag").version
    for found in list(store.backend.list("packs/")):
        store.backend.delete(found.key)
    with pytest.raises(StudioError):
        materialise(store, version, out / "here", progress=told)
    assert (len(told.labels), told.finished) == (1, 1)


def test_silence_says_nothing(capsys):
    progress = Silent()
    progress.start("work", 5)
    progress.advance(5, 1)
    progress.finish()
    assert capsys.readouterr() == ("", "")
