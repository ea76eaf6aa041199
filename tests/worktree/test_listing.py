"""Looking into a version without writing: entries, one file, and what differs between two."""

import os
import random

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import CorruptError, NotFoundError, UsageError
from studio_cas.formats import keys
from studio_cas.store.store import open_store
from studio_cas.worktree.capture import capture
from studio_cas.worktree.diff import diff
from studio_cas.worktree.listing import entries, read_file


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def store(backend, home):
    with open_store(backend, home=home) as opened:
        yield opened


@pytest.fixture
def model(work):
    (work / "d" / "e").mkdir(parents=True)
    (work / "d" / "a").write_bytes(b"a")
    (work / "d" / "e" / "b").write_bytes(random.Random(1).randbytes(3_000_000))
    (work / "d-").write_bytes(random.Random(2).randbytes(5000))
    (work / "run.sh").write_bytes(b"#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    (work / "link").symlink_to("d/a")
    (work / os.fsdecode(b"odd \xff\n")).write_bytes(b"")
    for path in work.rglob("*"):
        os.utime(path, ns=(10**18 + 7, 10**18 + 7), follow_symlinks=False)
    return work


@pytest.fixture
def version(store, model):
    return capture(store, model, "exp", "tag").version


def test_entries_are_listed_in_order_with_what_is_known_of_them(store, version):
    found = {entry.path: entry for entry in entries(store, version)}
    assert list(found) == [b"d", b"d/a", b"d/e", b"d/e/b", b"d-", b"link", b"odd \xff\n", b"run.sh"]
    assert [entry.kind for entry in found.values()] == [
        "folder", "file", "folder", "file", "file", "link", "file", "file",
    ]  # fmt: skip
    assert (found[b"d/e/b"].size, found[b"link"].size, found[b"d"].size) == (3_000_000, 0, 0)
    assert found[b"link"].target == b"d/a"
    assert [path for path, entry in found.items() if entry.executable] == [b"run.sh"]
    assert found[b"d/a"].mtime_ns == 10**18 + 7


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"d", [b"d", b"d/a", b"d/e", b"d/e/b"]),
        (b"d/e", [b"d/e", b"d/e/b"]),
        (b"d/a", [b"d/a"]),
        (b"d-", [b"d-"]),
        (b"link", [b"link"]),
    ],
)
def test_a_part_is_listed(store, version, path, found):
    assert [entry.path for entry in entries(store, version, path)] == found


@pytest.mark.parametrize("path", [b"x", b"d/x", b"d/a/x", b"D", b"d/"])
def test_a_path_that_is_not_there_is_named(store, version, path):
    with pytest.raises(NotFoundError, match="exp/tag@1 has no path"):
        list(entries(store, version, path))
    with pytest.raises(NotFoundError, match="exp/tag@1 has no path"):
        list(read_file(store, version, path))


def test_one_file_is_read(store, version, model):
    for path in (b"d/a", b"d/e/b", b"d-", b"run.sh", b"odd \xff\n"):
        assert b"".join(read_file(store, version, path)) == (model / os.fsdecode(path)).read_bytes()


@pytest.mark.parametrize("path", [b"d", b"link"])
def test_what_is_no_file_cannot_be_read(store, version, path):
    with pytest.raises(UsageError, match="no file"):
        list(read_file(store, version, path))


def test_a_single_file_needs_no_path(store, model):
    version = capture(store, model / "d" / "e" / "b", "exp", "file").version
    assert b"".join(read_file(store, version, b"")) == (model / "d" / "e" / "b").read_bytes()
    assert [entry.path for entry in entries(store, version)] == [b"b"]


def test_a_pack_that_is_gone_is_named_with_the_file(store, backend, version):
    for found in list(backend.list(keys.PACKS)):
        backend.delete(found.key)
    with pytest.raises(CorruptError, match=r"exp/tag@1: d/e/b: pack [0-9a-f]{32} is missing"):
        list(read_file(store, version, b"d/e/b"))


def test_reading_a_file_reads_its_ranges_and_no_others(store, backend, version, monkeypatch):
    read = []
    original = backend.read
    monkeypatch.setattr(backend, "read", lambda key, *rest: read.append((key, rest)) or original(key, *rest))
    assert len(b"".join(read_file(store, version, b"d-"))) == 5000
    assert sum(rest[1] for key, rest in read if key.startswith(keys.PACKS)) < 20_000


def changes(store, a, b):
    return [(change.kind, change.path, change.old_size, change.new_size) for change in diff(store, a, b)]


def test_two_versions_are_compared(store, version, model):
    (model / "d" / "a").write_bytes(b"other")
    (model / "d" / "new").write_bytes(b"new")
    (model / "d-").unlink()
    (model / "run.sh").chmod(0o644)
    (model / "link").unlink()
    (model / "link").symlink_to("d-")
    newer = capture(store, model, "exp", "tag").version
    assert changes(store, version, newer) == [
        ("changed", b"d/a", 1, 5),
        ("added", b"d/new", None, 3),
        ("removed", b"d-", 5000, None),
        ("changed", b"link", 0, 0),
        ("changed", b"run.sh", 10, 10),
    ]
    assert [(kind, path) for kind, path, *_ in changes(store, newer, version)] == [
        ("changed", b"d/a"), ("removed", b"d/new"), ("added", b"d-"), ("changed", b"link"), ("changed", b"run.sh"),
    ]  # fmt: skip


def test_a_file_that_became_a_folder_is_changed(store, version, model):
    (model / "d-").unlink()
    (model / "d-").mkdir()
    (model / "d-" / "in").write_bytes(b"1")
    newer = capture(store, model, "exp", "tag").version
    assert changes(store, version, newer) == [("changed", b"d-", 5000, 0), ("added", b"d-/in", None, 1)]


def test_a_time_alone_is_no_difference(store, version, model):
    os.utime(model / "d-", ns=(1, 1))
    assert changes(store, version, capture(store, model, "other", "tag").version) == []
    assert changes(store, version, version) == []


def test_leaves_that_are_the_same_are_not_read(store, work, monkeypatch):
    for number in range(20_000):
        (work / f"{number:05}").write_bytes(b"")
    first = capture(store, work, "exp", "tag").version
    (work / "19999").write_bytes(b"1")
    second = capture(store, work, "exp", "tag").version
    read = []
    from studio_cas.store.trees import TreeReader

    leaf = TreeReader.leaf
    monkeypatch.setattr(TreeReader, "leaf", lambda tree, index: read.append(index) or leaf(tree, index))
    assert changes(store, first, second) == [("changed", b"19999", 0, 1)]
    assert len(read) == 2
    assert len(TreeReader(store, first).root.leaves) > 2
