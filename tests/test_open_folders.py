"""No listing of a folder stays open: not when its reader walks away, and not when it fails in the middle."""

import ast
import errno
import gc
import os
import warnings
from pathlib import Path

import pytest

import studio_cas
from studio_cas import native
from studio_cas.backends.local import LocalBackend
from studio_cas.sync.engine import is_empty
from studio_cas.worktree import blobcache
from studio_cas.worktree.removal import remove_tree
from studio_cas.worktree.scan import scan, unreported

SOURCE = Path(studio_cas.__file__).parent


class BrokenError(Exception):
    """What a caller's own code raises."""


@pytest.fixture
def folder(tmp_path):
    for number in range(40):
        path = tmp_path / "folder" / f"{number % 4}" / f"{number:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "folder"


def raise_broken(*_):
    raise BrokenError


def walk_a_little(folder):
    opened = os.open(folder, os.O_RDONLY)
    try:
        rows = scan(opened, None, set(), unreported)
        assert next(rows).path == b"0"
        assert next(rows).path == b"0/00"
    finally:
        os.close(opened)


def walk_with_a_report_that_fails(folder):
    os.mkfifo(folder / "0" / "fifo")
    opened = os.open(folder, os.O_RDONLY)
    try:
        with pytest.raises(BrokenError):
            list(scan(opened, None, set(), raise_broken))
    finally:
        os.close(opened)


def list_a_little(folder):
    assert next(LocalBackend(folder).list("")).key == "0/00"
    assert next(LocalBackend(folder).list_names("")) == "0"


def remove_what_is_there(folder):
    remove_tree(folder)
    assert not folder.exists()


def look_whether_it_is_empty(folder):
    assert not is_empty(folder)


def look_for_cached_artifacts(folder):
    folder.rename(folder.with_name(blobcache.FOLDER))
    assert len(blobcache.list_cached(folder.parent)) == 4


@pytest.mark.parametrize(
    "use",
    [
        walk_a_little,
        walk_with_a_report_that_fails,
        list_a_little,
        remove_what_is_there,
        look_whether_it_is_empty,
        look_for_cached_artifacts,
    ],
)
def test_what_is_left_in_the_middle_is_closed(folder, use, monkeypatch):
    unraisable = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    before = set(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use(folder)
        gc.collect()
    assert [found.exc_value for found in unraisable] == []
    assert len(os.listdir("/proc/self/fd")) <= len(before)


class FailingEntries:
    """A listing whose disk fails after the second entry, and which knows whether it was closed."""

    def __init__(self, entries, all_of_them):
        self._entries = entries
        self._left = 2
        self.closed = False
        all_of_them.append(self)

    def __iter__(self):
        return self

    def __next__(self):
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.EIO, "Input/output error")
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entries.close()
        self.closed = True


def test_a_disk_that_fails_in_the_middle_of_a_listing(folder, monkeypatch):
    made = []
    monkeypatch.setattr(native, "library", lambda: None)
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: FailingEntries(real(path), made))
    opened = os.open(folder, os.O_RDONLY)
    said = []
    try:
        assert list(scan(opened, None, set(), lambda path, why: said.append((path, why)))) == []
    finally:
        os.close(opened)
    assert said == [(b"", "cannot be listed: Input/output error")]
    with pytest.raises(OSError, match="Input/output error"):
        remove_tree(folder)
    assert len(made) == 2
    assert all(entries.closed for entries in made)


class FailingLibrary:
    """The compiled loops on a disk that fails after the first names of a listing."""

    def __init__(self, library):
        self._library = library
        self.opened = self.ended = self.listed = 0

    def studio_list_begin(self, folder):
        self.opened += 1
        return self._library.studio_list_begin(folder)

    def studio_list_end(self, opened):
        self.ended += 1
        self._library.studio_list_end(opened)

    def studio_list(self, opened, prefix, count, *places):
        self.listed += 1
        return -errno.EIO if self.listed > 1 else self._library.studio_list(opened, prefix, count, *places)


@pytest.mark.skipif(native.library() is None, reason="the compiled loops are not in use")
def test_a_disk_that_fails_while_the_compiled_loops_list(folder, monkeypatch):
    library = FailingLibrary(native.library())
    monkeypatch.setattr(native, "library", lambda: library)
    opened = os.open(folder, os.O_RDONLY)
    said = []
    try:
        assert list(scan(opened, None, set(), lambda path, why: said.append((path, why)))) == []
    finally:
        os.close(opened)
    assert said == [(b"", "cannot be listed: Input/output error")]
    assert (library.opened, library.ended) == (1, 1)


def test_a_store_whose_disk_fails_while_it_is_listed(folder, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(studio_cas.StudioError, match=r"the store can not be listed.*Input/output error"):
        list(LocalBackend(folder).list(""))


def listings(tree):
    """Each call of `os.scandir`, and whether a `with` closes it before its generator hands anything on."""
    safe = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and not any(
            isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node)
        ):
            safe.update(id(item.context_expr) for item in node.items)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("scandir"):
            yield node.lineno, id(node) in safe


def test_every_listing_stands_in_a_with_that_hands_nothing_on():
    """A generator that yields in the middle of one keeps it open for as long as its reader likes."""
    found = {
        f"{path.relative_to(SOURCE)}:{line}": safe
        for path in SOURCE.rglob("*.py")
        for line, safe in listings(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(found) > 5
    assert [place for place, safe in found.items() if not safe] == []


@pytest.mark.parametrize(
    "code", ["for entry in os.scandir(p): use(entry)", "with os.scandir(p) as entries:\n    yield from entries"]
)
def test_a_listing_that_may_stay_open_is_found(code):
    assert [safe for _, safe in listings(ast.parse(code))] == [False]
