"""What a pull writes, deletes, refuses and fetches."""

import os
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.reliability.folders import fill, names, snapshot

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import ConflictError, LocalIOError, NotFoundError, TransientError, UsageError
from studio_cas.store.store import open_store
from studio_cas.worktree import blobcache, statcache
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise
from studio_cas.worktree.staging import Staging


def randbytes(seed, size):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def version(store, work):
    return capture(store, fill(work), "exp", "tag").version


@pytest.fixture
def here(out):
    return out / "here"


def test_a_pull_into_an_empty_folder_keeps_that_folder(store, version, work, here, out):
    here.mkdir()
    inode = here.stat().st_ino
    materialise(store, version, here)
    assert here.stat().st_ino == inode  # a shell may stand in it, or it is a mount
    assert snapshot(here) == snapshot(work)
    assert names(out) == ["here"]


def test_a_pull_over_an_earlier_one_updates_it_deletions_included(store, version, work, here, out):
    materialise(store, version, here)
    shutil.rmtree(work / "sub")
    (work / "big").write_bytes(randbytes(9, 2 << 20))
    (work / "tiny").chmod(0o755)
    (work / "link").unlink()
    (work / "link").symlink_to("big")
    (work / "new").mkdir()
    (work / "new" / "file").write_bytes(b"new")
    newer = capture(store, work, "exp", "tag").version
    result = materialise(store, newer, here)
    assert snapshot(here) == snapshot(work)
    assert (result.files_written, result.files_deleted) == (4 - 1, 8)  # links are not files
    assert names(out) == ["here"]
    back = materialise(store, version, here)
    assert back.files_written == 10
    assert snapshot(here).keys() >= {b"sub/empty", b"sub/small-7"}
    assert materialise(store, version, here).files_written == 0


@pytest.mark.parametrize("change", ["edited", "same size", "appeared", "new folder", "executable", "replaced", "fifo"])
def test_what_is_not_in_any_version_is_in_the_way(store, version, work, here, change):
    materialise(store, version, here)
    (work / "big").write_bytes(b"newer" * 10_000)
    (work / "sub" / "small-1").unlink()
    newer = capture(store, work, "exp", "tag").version
    if change == "edited":
        (here / "big").write_bytes(b"mine")
    elif change == "same size":
        (here / "sub" / "small-1").write_bytes(randbytes(4, 5000))
    elif change == "appeared":
        (here / "sub" / "mine").write_bytes(b"mine")
    elif change == "new folder":
        (here / "mine").mkdir()
        (here / "mine" / "mine").write_bytes(b"mine")
    elif change == "executable":
        (here / "big").chmod(0o755)
    elif change == "fifo":
        os.mkfifo(here / "mine")
    else:
        (here / "big").unlink()
        (here / "big").mkdir()
        (here / "big" / "mine").write_bytes(b"mine")
    before = snapshot(here)
    named = {"edited": "big", "same size": "sub/small-1", "executable": "big", "replaced": "big/mine"}
    with pytest.raises(ConflictError, match=named.get(change, "mine") + ".*--force.*Nothing was changed"):
        materialise(store, newer, here)
    assert snapshot(here) == before
    materialise(store, newer, here, force=True)
    wanted = snapshot(work) | ({b"mine": ("special",)} if change == "fifo" else {})
    assert snapshot(here) == wanted


def test_a_folder_of_somebody_else_is_in_the_way_unless_it_is_equal(store, version, work, here):
    shutil.copytree(work, here, symlinks=True)
    assert materialise(store, version, here).bytes_fetched == 0
    (here / "tiny").write_bytes(b"other")
    with pytest.raises(ConflictError, match="tiny"):
        materialise(store, version, here)
    materialise(store, version, here, force=True)
    assert snapshot(here) == snapshot(work)


def test_the_captured_folder_itself_goes_back_to_an_older_version(store, version, work):
    before = snapshot(work)
    (work / "big").write_bytes(b"worse")
    (work / "more").write_bytes(b"more")
    capture(store, work, "exp", "tag")
    materialise(store, version, work)
    assert snapshot(work) == before
    assert not capture(store, work, "exp", "other").bytes_stored


@pytest.mark.parametrize("there", ["nothing", "empty", "earlier"])
def test_a_dry_run_tells_all_and_writes_nothing(store, version, work, here, out, there):
    if there == "empty":
        here.mkdir()
    if there == "earlier":
        materialise(store, version, here)
        shutil.rmtree(work / "sub")
        (work / "tiny").write_bytes(b"changed")
        (work / "new").write_bytes(b"new")
        version = capture(store, work, "exp", "tag").version
    before, cached = snapshot(out), snapshot(store.cache_dir)
    result = materialise(store, version, here, dry_run=True)
    assert snapshot(out) == before
    assert snapshot(store.cache_dir) == cached
    told = {(change.kind, change.path) for change in result.changes}
    if there == "earlier":
        assert {("changed", b"tiny"), ("added", b"new"), ("removed", b"sub"), ("removed", b"sub/small-0")} <= told
        assert ("changed", b"big") not in told
    else:
        assert told == {("added", path) for path in snapshot(work)}
    real = materialise(store, version, here)
    assert there == "nothing" or real.changes == result.changes


def test_include_and_exclude_choose_files(store, version, work, out):
    materialise(store, version, out / "a", include=["small-*", "tiny"], exclude=["small-3", "small-4"])
    small = {b"sub/small-%d" % number for number in range(8)} - {b"sub/small-3", b"sub/small-4"}
    assert snapshot(out / "a").keys() == small | {b"sub", b"tiny"}
    materialise(store, version, out / "b", exclude=["sub/"])
    assert snapshot(out / "b").keys() == {b"big", b"tiny", b"link"}


@pytest.mark.parametrize(
    "wish", [{"include": ["nothing-like-it"]}, {"exclude": ["*"]}, {"path": b"tiny", "include": ["big"]}]
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_patterns_that_leave_nothing_write_nothing(store, version, out, wish, dry_run):
    with pytest.raises(NotFoundError, match=r"nothing that fits --(in|ex)clude '.*'; nothing was written"):
        materialise(store, version, out / "here", dry_run=dry_run, **wish)
    assert os.listdir(out) == []


def test_patterns_are_asked_for_a_single_file_as_well(store, work, out):
    fill(work)
    version = capture(store, work / "tiny", "exp", "file").version
    with pytest.raises(NotFoundError, match="nothing that fits"):
        materialise(store, version, out / "tiny", include=["*.pt"])
    assert os.listdir(out) == []
    materialise(store, version, out / "tiny", include=["tin*"])
    assert (out / "tiny").read_bytes() == (work / "tiny").read_bytes()


def test_a_part_can_become_the_whole_and_the_whole_a_part(store, version, work, here):
    materialise(store, version, here, include=["small-*"])
    materialise(store, version, here)
    assert snapshot(here) == snapshot(work)
    materialise(store, version, here, exclude=["sub/"])
    assert snapshot(here).keys() == {b"big", b"tiny", b"link"}
    captured = capture(store, here, "exp", "part").version
    assert captured.files == 2


def test_a_path_inside_names_a_folder_a_file_or_a_link(store, version, work, out):
    materialise(store, version, out / "folder", path=b"sub")
    assert snapshot(out / "folder") == snapshot(work / "sub")
    materialise(store, version, out / "file", path=b"sub/small-2")
    assert (out / "file").read_bytes() == (work / "sub" / "small-2").read_bytes()
    materialise(store, version, out / "folder", path=b"sub/small-2")
    materialise(store, version, out, path=b"sub/small-3")
    assert (out / "small-3").read_bytes() == (work / "sub" / "small-3").read_bytes()
    materialise(store, version, out / "empty", path=b"sub/empty")
    assert snapshot(out / "empty") == {}
    for nothing in (b"sub/nothing", b"nothing", b"su", b"sub/", b"..", b"/etc"):
        with pytest.raises(NotFoundError, match=r"exp/tag@1 has no path"):
            materialise(store, version, out / "no", path=nothing)
    assert names(out) == ["empty", "file", "folder", "small-3"]


def test_a_pulled_link_is_a_link(store, version, out):
    materialise(store, version, out / "way", path=b"link", links="allow")
    assert (out / "way").is_symlink()
    assert (out / "way").readlink().as_posix() == "sub/small-0"


def test_a_link_that_was_left_out_is_no_part_of_what_is_captured_from_there(store, work, here, out):
    for name in "abcdefgh":
        (work / name).write_bytes(name.encode() * 3000)
    (work / "c-leaves").symlink_to("/etc")
    version = capture(store, work, "exp", "tag").version
    materialise(store, version, here, links="skip")
    (here / "e").write_bytes(b"changed")
    again = capture(store, here, "exp", "tag").version
    materialise(store, again, out / "again")
    assert snapshot(out / "again") == snapshot(here)
    (here / "e").write_bytes(b"e" * 3000)
    assert capture(store, here, "exp", "tag").version.manifest_id != version.manifest_id


def test_a_single_file_becomes_a_file_or_goes_into_a_folder(store, work, out):
    (work / "model.pt").write_bytes(randbytes(1, 300_000))
    version = capture(store, work / "model.pt", "exp", "tag").version
    materialise(store, version, out / "deep" / "er" / "renamed.pt")
    assert (out / "deep/er/renamed.pt").read_bytes() == randbytes(1, 300_000)
    materialise(store, version, out)
    assert (out / "model.pt").read_bytes() == randbytes(1, 300_000)
    assert names(out) == ["deep", "model.pt"]
    (work / "model.pt").write_bytes(randbytes(2, 300_000))
    newer = capture(store, work / "model.pt", "exp", "tag").version
    materialise(store, newer, out)
    assert (out / "model.pt").read_bytes() == randbytes(2, 300_000)
    (out / "model.pt").write_bytes(b"mine")
    with pytest.raises(ConflictError, match=r"model\.pt is there already"):
        materialise(store, version, out)
    assert (out / "model.pt").read_bytes() == b"mine"
    assert materialise(store, version, out, dry_run=True, force=True).changes
    assert (out / "model.pt").read_bytes() == b"mine"
    materialise(store, version, out, force=True)
    assert (out / "model.pt").read_bytes() == randbytes(1, 300_000)
    (out / "x" / "model.pt").mkdir(parents=True)
    with pytest.raises(ConflictError, match="is a folder"):
        materialise(store, version, out / "x")


def test_a_file_where_the_folder_should_go_is_in_the_way(store, version, here, out):
    here.write_bytes(b"mine")
    with pytest.raises(ConflictError, match="is a file"):
        materialise(store, version, here, force=True)
    with pytest.raises(LocalIOError):
        materialise(store, version, here / "below")
    (out / "loop").symlink_to("loop")
    with pytest.raises((ConflictError, LocalIOError)):
        materialise(store, version, out / "loop")
    (out / "dangling").symlink_to("nothing")
    with pytest.raises((ConflictError, LocalIOError)):
        materialise(store, version, out / "dangling")
    assert names(out) == ["dangling", "here", "loop"]


def test_a_linked_destination_is_filled_where_it_leads(store, version, work, out):
    (out / "real").mkdir()
    (out / "way").symlink_to("real")
    materialise(store, version, out / "way")
    assert (out / "way").is_symlink()
    assert snapshot(out / "real") == snapshot(work)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1])
@pytest.mark.parametrize("content", ["zeros", "noise", "text"])
def test_files_around_every_limit_come_back(store, work, here, size, content):
    data = {
        "zeros": bytes(size),
        "noise": randbytes(size, size),
        "text": (b"a line of text\n" * (size // 15 + 1))[:size],
    }
    (work / "x").write_bytes(data[content])
    (work / "y").write_bytes(data[content])
    materialise(store, capture(store, work, "exp", "tag").version, here)
    assert snapshot(here) == snapshot(work)


def test_an_update_with_one_percent_changed_fetches_less_than_five(tmp_path, work, out):
    for number in range(10):
        (work / f"{number}").write_bytes(randbytes(number, 4 << 20))
    with open_store(MemoryBackend(), home=tmp_path / "home") as store:
        materialise(store, capture(store, work, "exp", "tag").version, out / "here")
        with (work / "3").open("r+b") as file:
            file.seek(1 << 20)
            file.write(randbytes(99, 400_000))
        newer = capture(store, work, "exp", "tag").version
        result = materialise(store, newer, out / "here")
    assert snapshot(out / "here") == snapshot(work)
    assert result.bytes_fetched < (40 << 20) // 20


class Dying(MemoryBackend):
    """Reads fail once `budget` bytes of packs were read."""

    budget = 1 << 60

    def read(self, key, offset=0, length=None):
        if key.startswith("packs/"):
            self.budget -= length or 0
            if self.budget < 0:
                raise TransientError("the connection was reset")
        return super().read(key, offset, length)


@pytest.mark.parametrize("there", ["nothing", "empty", "earlier"])
def test_an_interrupted_pull_continues(tmp_path, work, here, out, there):
    backend = Dying()
    with open_store(backend, home=tmp_path / "home") as store:
        if there == "earlier":
            materialise(store, capture(store, fill(work, seed=5), "exp", "tag").version, here)
        if there == "empty":
            here.mkdir()
        fill(work, big=30 << 20)
        version = capture(store, work, "exp", "tag").version
        before = snapshot(here) if here.exists() else None
        backend.budget = 20 << 20
        with pytest.raises(TransientError):
            materialise(store, version, here)
        left = names(here) if before is not None else []
        assert {name for name in left if not name.endswith(".studio-partial")} == {
            path.decode() for path in (before or ()) if b"/" not in path
        }
        backend.budget = 1 << 60
        result = materialise(store, version, here)
        assert snapshot(here) == snapshot(work)
        assert names(out) == ["here"]
        assert result.bytes_fetched < 18 << 20


def test_an_interrupted_pull_that_changes_its_mind_leaves_nothing(tmp_path, work, here, out):
    backend = Dying()
    with open_store(backend, home=tmp_path / "home") as store:
        version = capture(store, fill(work, big=10 << 20), "exp", "tag").version
        (work / "big").unlink()
        newer = capture(store, work, "exp", "tag").version
        backend.budget = 5 << 20
        with pytest.raises(TransientError):
            materialise(store, version, here)
        assert names(out) == [".here.studio-partial"]
        backend.budget = 1 << 60
        materialise(store, newer, here)
        assert snapshot(here) == snapshot(work)
        assert names(out) == ["here"]


class Halted(BaseException):
    """As good as a kill."""


@pytest.mark.parametrize("halt", range(1, 14))
@pytest.mark.parametrize("then", ["the same", "an older", "a newer"])
def test_an_update_that_is_killed_while_files_are_put_in_place_continues(
    store, version, work, here, out, monkeypatch, halt, then
):
    from studio_cas.worktree import update as module

    materialise(store, version, here)
    first = snapshot(work)
    for number in range(8):
        (work / "sub" / f"small-{number}").write_bytes(randbytes(number, 6000))
    (work / "tiny").unlink()
    (work / "another").write_bytes(b"another")
    (work / "sub" / "folder").mkdir()
    newer = capture(store, work, "exp", "tag").version
    second = snapshot(work)
    (work / "sub" / "small-1").write_bytes(b"third")
    (work / "sub" / "small-2").unlink()
    newest = capture(store, work, "exp", "tag").version
    put, count = module._put, 0

    def halted(*args, **options):
        nonlocal count
        count += 1
        if count == halt:
            raise Halted
        return put(*args, **options)

    monkeypatch.setattr(module, "_put", halted)
    try:
        materialise(store, newer, here)
    except Halted:
        assert snapshot(here) not in (first, second)
    monkeypatch.undo()
    wanted, expected = {
        "the same": (newer, second),
        "an older": (version, first),
        "a newer": (newest, snapshot(work)),
    }[then]
    materialise(store, wanted, here)
    assert snapshot(here) == expected
    assert names(out) == ["here"]
    (here / "another").write_bytes(b"mine")
    with pytest.raises(ConflictError):
        materialise(store, newest, here)


def test_a_second_pull_into_the_same_place_waits_for_nothing(store, version, here, out):
    with Staging(here, "another"), pytest.raises(ConflictError, match=r"another pull into .* is under way"):
        materialise(store, version, here)
    materialise(store, version, here)
    assert names(out) == ["here"]


def test_many_pulls_into_one_place_leave_it_whole(store, version, work, here, out):
    def pull(_):
        try:
            materialise(store, version, here)
        except ConflictError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(pull, range(24)))
    assert "" in told
    materialise(store, version, here)
    assert snapshot(here) == snapshot(work)
    assert names(out) == ["here"]


def test_a_failed_pull_leaves_no_thread_and_no_descriptor(tmp_path, work, here):
    backend = Dying()
    with open_store(backend, home=tmp_path / "home") as store:
        version = capture(store, fill(work, big=10 << 20), "exp", "tag").version
        with pytest.raises(TransientError):
            backend.budget = 0
            materialise(store, version, here)
        threads, before = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(8):
            backend.budget = 600_000
            with pytest.raises(TransientError):
                materialise(store, version, here)
        assert threading.active_count() == threads
        assert len(os.listdir("/proc/self/fd")) <= before


def test_a_pattern_that_makes_no_sense_says_so(store, version, here, out):
    with pytest.raises(UsageError, match="a pattern makes no sense"):
        materialise(store, version, here, include=["[z-a]"])
    assert names(out) == []


def test_the_blobcache_is_built_once_and_asks_nothing_afterwards(tmp_path, work):
    backend = Dying()
    with open_store(backend, home=tmp_path / "home") as store:
        version = capture(store, fill(work), "exp", "tag").version
        folder = blobcache.ensure(store, version)
        assert snapshot(folder) == snapshot(work)
        backend.budget = 0
        assert blobcache.ensure(store, version) == folder
        with pytest.raises(PermissionError) if os.geteuid() else pytest.raises(AssertionError):
            (folder / "tiny").write_bytes(b"changed")
            raise AssertionError
        backend.budget = 1 << 60
        blobcache.ensure(store, version)
        assert snapshot(folder) == snapshot(work)
        assert [cached.path for cached in blobcache.list_cached(store.home)] == [folder]
        assert blobcache.clean(store.home, dry_run=True)
        assert folder.is_dir()
        blobcache.clean(store.home)
        assert blobcache.list_cached(store.home) == []
        assert snapshot(blobcache.ensure(store, version)) == snapshot(work)


def test_the_blobcache_gives_a_single_file_its_name(store, work):
    (work / "model.pt").write_bytes(b"weights")
    version = capture(store, work / "model.pt", "exp", "tag").version
    path = blobcache.ensure(store, version)
    assert (path.name, path.read_bytes()) == ("model.pt", b"weights")
    assert blobcache.ensure(store, version) == path


def test_many_that_want_one_artifact_in_the_blobcache_all_get_it(store, version, work):
    with ThreadPoolExecutor(6) as pool:
        folders = set(pool.map(lambda _: blobcache.ensure(store, version), range(18)))
    (folder,) = folders
    assert snapshot(folder) == snapshot(work)


def test_a_capture_of_a_pulled_folder_reads_nothing_and_makes_the_same_manifest(store, version, here):
    materialise(store, version, here)
    again = capture(store, here, "exp", "other")
    assert again.version.manifest_id == version.manifest_id
    assert again.bytes_read == 0
    assert statcache.path_of(store, here).exists()
