"""A store in a folder keeps the contract, survives kills, and explains what the disk refuses."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio_cas.backends import local, publish
from studio_cas.backends.local import LocalBackend
from studio_cas.errors import (
    NoSpaceError,
    NotFoundError,
    ObjectExistsError,
    PermissionDeniedError,
    StoreUnavailableError,
)
from studio_cas.testing.backend_contract import BackendContract


@pytest.fixture
def store(tmp_path):
    return LocalBackend(tmp_path / "store")


def refuse(number):
    def refused(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return refused


class TestLocal(BackendContract):
    @pytest.fixture
    def backend(self, store):
        return store


class TestLocalWithoutHardLinks(BackendContract):
    rounds = 20

    @pytest.fixture
    def backend(self, store, monkeypatch):
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
        return store


def test_a_file_system_with_neither_link_nor_exclusive_rename_is_refused(store, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(publish, "rename_exclusively", lambda: refuse(errno.EINVAL))
    with pytest.raises(StoreUnavailableError, match="another file system"):
        store.create("a/b", [b"x"])
    assert leftovers(store) == []


def test_a_link_whose_reply_was_lost_counts_as_made(store, monkeypatch):
    real = os.link

    def link_twice(source, target):
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    store.create("a", [b"x"])
    assert store.read("a") == b"x"
    assert leftovers(store) == ["a"]


def leftovers(store):
    return sorted(str(path.relative_to(store.url)) for path in Path(store.url).rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EROFS, PermissionDeniedError),
        (errno.EACCES, PermissionDeniedError),
        (errno.EIO, StoreUnavailableError),
    ],
)
@pytest.mark.parametrize("call", ["writev", "fsync", "link"])
def test_a_refused_write_says_why_and_leaves_nothing(store, monkeypatch, number, error, call):
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse(number))
        with pytest.raises(error, match=os.strerror(number)):
            store.create("a/b/c", [b"x"])
    assert leftovers(store) == []
    assert list(store.list_names("")) == []
    store.create("a/b/c", [b"x"])


def test_a_disk_that_is_really_full_is_no_space(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("no mounts here")
    try:
        store = LocalBackend(disk / "store")
        store.create("small", [b"x" * 1000])
        with pytest.raises(NoSpaceError, match="large"):
            store.create("packs/large", [b"x" * (1 << 19)] * 4)
        assert leftovers(store) == ["small"]
        store.create("packs/fits", [b"x" * (1 << 19)])
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_partial_writes_are_continued(store, monkeypatch):
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, views: real(fd, [views[0][: max(1, len(views[0]) // 2)]]))
    store.create("a", [b"abcdefg", b"h", b"ijk"])
    assert store.read("a") == b"abcdefghijk"


def test_partial_reads_are_continued(store, monkeypatch):
    store.create("a", [b"abcdefghijk"])
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: real(fd, min(length, 3), offset))
    assert store.read("a", 1, 8) == b"bcdefghi"
    assert store.read("a", 1, 100) == b"bcdefghijk"
    assert store.read("a") == b"abcdefghijk"


def test_what_killed_writers_left_is_not_listed_and_goes_after_a_day(store):
    store.create("packs/ab/one", [b"1"])
    folder = Path(store.url) / "packs/ab"
    old, young = folder / f"{local.TEMPORARY}old", folder / f"{local.TEMPORARY}young"
    old.write_bytes(b"torn")
    young.write_bytes(b"being written")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    assert [found.key for found in store.list("")] == ["packs/ab/one"]
    assert list(store.list_names("packs/ab/")) == ["one"]
    LocalBackend(Path(store.url)).create("packs/ab/two", [b"2"])
    assert not old.exists()
    assert young.exists()


def test_a_listing_with_a_limit_reads_only_the_folders_on_its_way(store, monkeypatch):
    for number in range(40):
        store.create(f"packs/{number:02x}/x", [b"1"])
    asked = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: asked.append(path) or real(path))
    assert [found.key for found in store.list("packs/", limit=1)] == ["packs/00/x"]
    assert len(asked) == 2
    asked.clear()
    assert [found.key for found in store.list("packs/1f/", limit=1)] == ["packs/1f/x"]
    assert len(asked) == 1


def test_the_store_may_be_removed_under_a_writer(store):
    store.create("a/b/c", [b"1"])
    subprocess.run(["rm", "-r", store.url], check=True)
    store.create("a/b/d", [b"2"])
    assert [found.key for found in store.list("")] == ["a/b/d"]


def test_a_store_that_is_not_there_is_empty(store):
    assert list(store.list("")) == []
    assert list(store.list_names("")) == []
    with pytest.raises(NotFoundError):
        store.read("a")


def test_a_file_in_the_way_of_the_store_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file/store"):
        with pytest.raises(StoreUnavailableError, match="file"):
            LocalBackend(root).prepare()


def test_a_store_that_may_not_be_made_says_why(store, monkeypatch):
    monkeypatch.setattr(os, "makedirs", refuse(errno.EROFS))
    with pytest.raises(PermissionDeniedError, match="can not be made: Read-only"):
        store.prepare()


def test_a_folder_that_may_not_be_listed_is_named(store, monkeypatch):
    monkeypatch.setattr(os, "listdir", refuse(errno.EACCES))
    with pytest.raises(PermissionDeniedError, match="packs/ can not be listed"):
        list(store.list("packs/"))


def test_an_object_in_the_way_of_a_key_is_not_replaced(store):
    store.create("a", [b"1"])
    with pytest.raises(StoreUnavailableError, match="a/b"):
        store.create("a/b", [b"2"])
    store.create("c/d", [b"1"])
    with pytest.raises(ObjectExistsError):
        store.create("c", [b"2"])


def test_it_starts_without_heavy_imports():
    code = (
        "import sys; from studio_cas.backends.opening import open_backend; open_backend('/nowhere').url;"
        "heavy = {'fsspec', 'gcsfs', 'numpy', 'asyncio', 'aiohttp', 'ctypes'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


WRITER = """
import os, sys
from pathlib import Path
from studio_cas.backends.local import LocalBackend
os.fsync = lambda fd: None  # a kill loses no page; and so nearly all the time goes into writing
store = LocalBackend(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    number += 1
    store.create(f"packs/{number % 5}/{number:012}", [number.to_bytes(8, "big") * 32] * (3000 + number % 1000))
    print("created", flush=True)
"""


def test_a_killed_writer_leaves_no_torn_object(tmp_path):
    store = LocalBackend(tmp_path)
    moments = random.Random(7)
    for round_ in range(15):
        command = [sys.executable, "-c", WRITER, tmp_path, str(round_ * 1_000_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
    found = list(store.list(""))
    assert len(found) >= 15  # each writer has finished at least one
    for one in found:
        number = int(one.key.rpartition("/")[2])
        assert one.size == 256 * (3000 + number % 1000)
        assert store.read(one.key) == number.to_bytes(8, "big") * 32 * (3000 + number % 1000)
