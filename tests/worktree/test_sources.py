"""A pull takes what lies in the blobcache already, verifies it, and fetches what is not as it was told."""

import os
import random
import shutil

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import TransientError
from studio_cas.formats import leaf as leaves
from studio_cas.store.store import open_store
from studio_cas.worktree import blobcache, copying, sources
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise


def randbytes(seed, size):
    return random.Random(seed).randbytes(size)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Watched(MemoryBackend):
    """Counts the bytes that are read from data packs, and can be away."""

    def __init__(self):
        super().__init__()
        self.fetched = 0
        self.away = False

    def read(self, key, offset=0, length=None):
        data = super().read(key, offset, length)
        if key.startswith("packs/"):
            if self.away:
                raise TransientError("away")
            self.fetched += len(data)
        return data


@pytest.fixture
def backend():
    return Watched()


@pytest.fixture
def store(backend, home):
    with open_store(backend, home=home) as opened:
        yield opened


@pytest.fixture
def model(work):
    """Files of many chunks, of one, of none; with holes, twice the same, and in folders."""
    (work / "sub").mkdir()
    for number in range(3):
        (work / f"big-{number}").write_bytes(randbytes(number, 3_000_000))
    for number in range(300):
        (work / "sub" / f"small-{number:03}").write_bytes(randbytes(number, 2000))
    (work / "sub" / "again").write_bytes(randbytes(0, 3_000_000))
    (work / "tiny").write_bytes(b"tiny")
    (work / "empty").write_bytes(b"")
    (work / "zeros").write_bytes(randbytes(7, 100_000) + bytes(5 << 20))
    (work / "program").write_bytes(randbytes(9, 70_000))
    (work / "program").chmod(0o755)
    return work


@pytest.fixture
def version(store, model):
    return capture(store, model, "exp", "tag").version


@pytest.fixture
def cached(store, version):
    return blobcache.ensure(store, version)


def copied(target, source):
    """As FICLONE does it, without sharing."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    os.pwrite(target, os.pread(source, size, 0), 0)


def refused(_target, _source):
    raise OSError(95, "Operation not supported")


@pytest.fixture(params=["a file system that clones", "one that does not", "this one"])
def cloning(request, monkeypatch):
    if request.param != "this one":
        monkeypatch.setattr(copying, "clone", copied if request.param == "a file system that clones" else refused)
    return request.param


def test_what_the_blobcache_holds_is_not_fetched_again(store, backend, version, cached, model, out, cloning):
    backend.away = True
    result = materialise(store, version, out / "here")
    assert content(out / "here") == content(model)
    assert result.bytes_fetched == 0
    assert (out / "here" / "program").stat().st_mode & 0o777 == 0o755
    assert (out / "here" / "tiny").stat().st_mode & 0o200
    assert (out / "here" / "big-0").stat().st_mtime_ns == (model / "big-0").stat().st_mtime_ns
    assert (out / "here" / "zeros").stat().st_blocks * 512 < 2 << 20 or cloning == "a file system that clones"


def test_a_part_of_it_is_not_fetched_either(store, backend, version, cached, model, out, cloning):
    backend.away = True
    assert materialise(store, version, out / "sub", path=b"sub").bytes_fetched == 0
    assert content(out / "sub") == content(model / "sub")
    assert materialise(store, version, out / "one", path=b"big-1").bytes_fetched == 0
    assert (out / "one").read_bytes() == (model / "big-1").read_bytes()
    assert materialise(store, version, out / "some", include=["small-00*"]).bytes_fetched == 0
    assert len(content(out / "some")) == 10


def test_a_single_file_is_not_fetched_again(store, backend, model, out, cloning):
    version = capture(store, model / "big-0", "exp", "file").version
    blobcache.ensure(store, version)
    backend.away = True
    materialise(store, version, out / "file")
    assert (out / "file").read_bytes() == (model / "big-0").read_bytes()


def test_a_destination_with_content_takes_from_itself_and_from_the_blobcache(store, backend, version, model, out):
    materialise(store, version, out / "here")
    (model / "big-1").write_bytes(randbytes(50, 3_000_000))
    (model / "sub" / "small-007").write_bytes(b"changed")
    newer = capture(store, model, "exp", "tag").version
    blobcache.ensure(store, newer)
    backend.away = True
    result = materialise(store, newer, out / "here")
    assert content(out / "here") == content(model)
    assert (result.files_written, result.bytes_fetched) == (2, 0)


def test_another_version_in_the_blobcache_gives_the_chunks_that_are_the_same(
    store, backend, cached, model, out, cloning
):
    with (model / "big-0").open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"changed")
    (model / "big-2").rename(model / "renamed")
    (model / "new").write_bytes(randbytes(99, 50_000))
    newer = capture(store, model, "exp", "tag").version
    backend.fetched = 0
    result = materialise(store, newer, out / "here")
    assert content(out / "here") == content(model)
    assert 0 < result.bytes_fetched == backend.fetched < 1_500_000


def test_for_a_small_pull_nobody_looks_around(store, backend, cached, work, out, monkeypatch):
    monkeypatch.setattr(sources, "_last_used", lambda root: pytest.fail("it looked around"))
    shutil.rmtree(work)
    work.mkdir()
    (work / "small").write_bytes(randbytes(1, 100_000))
    version = capture(store, work, "exp", "other").version
    materialise(store, version, out / "here")
    assert content(out / "here") == content(work)


def flip(path):
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def grow(path):
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(bytes(3_000_000))


def become_a_folder(path):
    path.unlink()
    path.mkdir()


def become_a_fifo(path):
    path.unlink()
    os.mkfifo(path)


def become_a_link(path):
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


DAMAGE = [flip, cut, grow, os.unlink, become_a_folder, become_a_fifo, become_a_link]


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_damaged_in_the_blobcache_comes_from_the_store(store, version, cached, model, out, cloning, damage):
    for name in ("big-1", "zeros", "sub/small-123", "program"):
        damage(cached / name)
    result = materialise(store, version, out / "here")
    assert content(out / "here") == content(model)
    assert (result.bytes_fetched > 0) == (damage is not grow)


def test_a_blobcache_that_lost_nearly_everything_is_asked_no_more(store, backend, version, cached, model, out, cloning):
    for path in cached.rglob("*"):
        if path.is_file():
            path.unlink()
    asked = []
    read = backend.read
    backend.read = lambda *arguments: asked.append(arguments) or read(*arguments)
    materialise(store, version, out / "here")
    assert content(out / "here") == content(model)
    assert len(asked) < 2 * copying.MISSES + 60  # and not one request for each of 300 files


def test_a_folder_that_was_never_finished_is_not_looked_into(store, backend, version, cached, model, out):
    sources.finished(store, cached).unlink()
    backend.fetched = 0
    materialise(store, version, out / "here", path=b"tiny")
    materialise(store, version, out / "one", path=b"program")
    assert backend.fetched > 0
    assert (out / "one").read_bytes() == (model / "program").read_bytes()


def test_a_damaged_stat_cache_of_the_blobcache_costs_only_what_it_would_have_saved(store, cached, model, out):
    for state in (store.cache_dir / "states").glob("*.state"):
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
    (model / "new").write_bytes(b"new")
    newer = capture(store, model, "exp", "tag").version
    materialise(store, newer, out / "here")
    assert content(out / "here") == content(model)


@pytest.mark.parametrize("what", ["the same", "the end", "the middle"])
def test_a_file_of_many_parts(store, work, out, monkeypatch, cloning, what):
    monkeypatch.setattr(leaves, "PART_MINIMUM", 4)
    monkeypatch.setattr(leaves, "PART_LIMIT", 8)
    monkeypatch.setattr(leaves, "PART_MASK", 1)
    (work / "before").write_bytes(b"before")
    (work / "large").write_bytes(randbytes(3, 9_000_000))
    blobcache.ensure(store, capture(store, work, "exp", "tag").version)
    if what == "the end":
        os.truncate(work / "large", 8_000_000)
    elif what == "the middle":
        with (work / "large").open("r+b") as file:
            file.seek(4_000_000)
            file.write(b"changed")
    version = capture(store, work, "exp", "tag").version
    result = materialise(store, version, out / "here")
    assert content(out / "here") == content(work)
    assert result.bytes_fetched < 2_200_000


def test_an_interrupted_pull_goes_on_with_the_blobcache(store, backend, version, model, out):
    backend.away = True
    with pytest.raises(TransientError):
        materialise(store, version, out / "here")
    backend.away = False
    blobcache.ensure(store, version)
    backend.away = True
    materialise(store, version, out / "here")
    assert content(out / "here") == content(model)


def test_nothing_stays_open(store, backend, version, cached, model, out, cloning):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        materialise(store, version, out / f"{number}")
    shutil.rmtree(cached)
    backend.away = True
    with pytest.raises(TransientError):
        materialise(store, version, out / "not")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_clone_never_changes_what_it_was_made_from(store, version, cached, model, out, monkeypatch):
    monkeypatch.setattr(copying, "clone", copied)
    flip(cached / "big-1")
    wrong = (cached / "big-1").read_bytes()
    materialise(store, version, out / "here")
    assert (cached / "big-1").read_bytes() == wrong
    assert (out / "here" / "big-1").read_bytes() == (model / "big-1").read_bytes()
