"""Small files are written alike with the compiled loops and without, and what goes wrong is said alike."""

from __future__ import annotations

import errno
import os
import random
import resource
import stat

import pytest

from studio_cas import native
from studio_cas.formats.leaf import EntryKind
from studio_cas.worktree.scan import row_of
from studio_cas.worktree.whole import WholeFile, write_files


@pytest.fixture(params=["library", "python"])
def way(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("the compiled loops are not in use")


@pytest.fixture
def folder(tmp_path):
    opened = os.open(tmp_path, os.O_RDONLY)
    yield opened
    os.close(opened)


def write(folder, contents, *, kinds=None, mtimes=None):
    """Write files; the rows that were told, by path."""
    rows = {}
    files = [
        WholeFile(
            folder,
            path,
            (kinds or {}).get(path, EntryKind.FILE),
            (mtimes or {}).get(path, 1_000_000_007),
            lambda position, row: rows.update({row.path: (position, row)}),
            position,
        )
        for position, path in enumerate(contents)
    ]
    lengths = [len(data) for data in contents.values()]
    offsets = [sum(lengths[:index]) + 3 for index in range(len(lengths))]
    write_files(files, offsets, lengths, memoryview(b"abc" + b"".join(contents.values())))
    return rows


def test_files_are_written_with_their_mode_and_time(way, folder, tmp_path):
    source = random.Random(1)
    contents = {b"file-%d" % number: source.randbytes(number * 400) for number in range(60)}
    contents |= {b"n" * 255: b"long", b"\xff\xfe": b"not UTF-8", b"line\nbreak": b"x", b"empty": b""}
    mtimes = {
        b"file-1": 0,
        b"file-2": -1,
        b"file-3": -1_500_000_001,
        b"file-4": 2**62,
        b"file-5": 1_764_000_000_123_456_789,
    }
    rows = write(folder, contents, kinds={b"file-7": EntryKind.EXECUTABLE}, mtimes=mtimes)
    mask = os.umask(0o022)
    os.umask(mask)
    for position, (path, data) in enumerate(contents.items()):
        status = os.stat(path, dir_fd=folder, follow_symlinks=False)
        assert rows[path] == (position, row_of(path, status))
        assert status.st_mtime_ns == mtimes.get(path, 1_000_000_007)
        assert stat.S_IMODE(status.st_mode) == (0o777 if path == b"file-7" else 0o666) & ~mask
        assert (tmp_path / os.fsdecode(path)).read_bytes() == data
    assert len(rows) == len(contents)


def test_a_path_longer_than_the_system_takes_is_written(way, folder, tmp_path):
    name = b"d" * 200
    inner = os.dup(folder)
    for _ in range(25):
        os.mkdir(name, dir_fd=inner)
        deeper = os.open(name, os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = deeper
    try:
        long = b"/".join([name] * 25) + b"/file"
        rows = write(folder, {b"before": b"1", long: b"22", b"after": b"333"})
        assert os.stat("file", dir_fd=inner).st_size == 2
    finally:
        os.close(inner)
    assert set(rows) == {b"before", long, b"after"}
    assert (tmp_path / "after").read_bytes() == b"333"


@pytest.mark.parametrize("what", ["a file", "a link", "a folder"])
def test_what_is_there_is_not_written_to(way, folder, tmp_path, what):
    there = tmp_path / "there"
    if what == "a file":
        there.write_bytes(b"mine")
    elif what == "a link":
        there.symlink_to("elsewhere")
    else:
        there.mkdir()
    with pytest.raises(FileExistsError) as caught:
        write(folder, {b"one": b"1", b"there": b"2", b"two": b"3"})
    assert caught.value.filename == b"there"
    assert (tmp_path / "one").read_bytes() == b"1"
    assert not (tmp_path / "two").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert what != "a file" or there.read_bytes() == b"mine"


def test_a_folder_that_is_gone_is_named(way, folder):
    with pytest.raises(FileNotFoundError) as caught:
        write(folder, {b"one": b"1", b"gone/two": b"2"})
    assert caught.value.filename == b"gone/two"


def test_a_file_that_the_system_takes_only_half_is_named(way, folder, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(folder, {b"one": b"1" * 4000, b"large": b"2" * 6000, b"two": b"3"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, b"large")
    assert (tmp_path / "one").stat().st_size == 4000
    assert not (tmp_path / "two").exists()


def test_no_descriptor_is_left(way, folder, tmp_path):
    (tmp_path / "there").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    write(folder, {b"one": b"1", b"two": b"2"})
    with pytest.raises(FileExistsError):
        write(folder, {b"three": b"1", b"there": b"2"})
    assert len(os.listdir("/proc/self/fd")) == before
