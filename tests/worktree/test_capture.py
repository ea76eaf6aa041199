"""What a capture does, and what it does not do: no write, no read and no version where nothing changed."""

import gc
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading

import pytest
from tests.reliability.folders import fill, snapshot

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import LocalIOError, NotFoundError, UsageError
from studio_cas.formats import leaf, root
from studio_cas.store.arena import ArenaBuffer
from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions
from studio_cas.worktree.capture import capture
from studio_cas.worktree.listing import entries, read_file
from studio_cas.worktree.materialise import materialise


def keys(store):
    return [found.key for found in store.backend.list("")]


def quiet(store, work):
    """Capture until nothing is read: what is younger than a clock tick is read again, to be sure."""
    made = capture(store, work, "exp", "tag")
    while capture(store, work, "exp", "tag").bytes_read:
        pass
    return made


def paths(store, version):
    return {entry.path.decode() for entry in entries(store, version)}


def test_an_unchanged_folder_makes_no_version_and_no_object(store, work):
    first = quiet(store, fill(work))
    before = keys(store)
    again = capture(store, work, "exp", "tag")
    assert (again.created, again.bytes_read, again.bytes_stored, again.new_chunks) == (False, 0, 0, 0)
    assert again.version.name == first.version.name
    assert keys(store) == before


def test_an_unchanged_folder_has_no_data_file_opened(tmp_path, work):
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from studio_cas.store.store import open_store
        from studio_cas.worktree.capture import capture
        store, work = open_store(Path(sys.argv[1]), home=Path(sys.argv[2])), Path(sys.argv[3])
        time.sleep(0.05)  # a clock tick: what was just written is read again, to be sure
        capture(store, work, "exp", "tag")
        opened = []
        def hook(event, arguments):
            if event == "open" and not arguments[2] & 0o200000:  # not a folder
                opened.append((str(arguments[0]), arguments[2]))
        sys.addaudithook(hook)
        assert not capture(store, work, "exp", "tag").created
        print([name for name, flags in opened if "cache" not in name and flags & 3 or name.startswith("b")])
        print(any("state" in name for name, _ in opened))
    """)
    fill(work)
    arguments = [sys.executable, "-c", script, tmp_path / "store", tmp_path / "home", work]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["[]", "True"]


def test_a_touched_file_is_read_and_makes_no_version(store, work):
    capture(store, fill(work), "exp", "tag")
    for path in work.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    again = quiet(store, work)
    assert not again.created
    assert again.new_chunks == 0


def test_a_file_of_the_future_is_captured_and_then_left_alone(store, work):
    (work / "x").write_bytes(b"x" * 5000)
    os.utime(work / "x", (2**32, 2**32))
    os.utime(work, (2**32, 2**32))
    first = capture(store, work, "exp", "tag")
    assert (first.files, first.stale) == (1, ())
    quiet(store, work)


@pytest.mark.parametrize("seconds", [-(10**9), 0, 9 * 10**9, 10**11])
def test_any_modification_time_comes_back(store, work, out, seconds):
    (work / "x").write_bytes(b"x" * 5000)
    try:
        os.utime(work / "x", (seconds, seconds))
    except OSError:
        pytest.skip("this file system has no such times")
    kept = min((work / "x").stat().st_mtime_ns, 2**63 - 1)
    materialise(store, capture(store, work, "exp", "tag").version, out / "here")
    assert (out / "here" / "x").stat().st_mtime_ns == kept


def test_a_change_of_the_same_size_and_time_is_seen(store, work):
    (work / "x").write_bytes(b"a" * 5000)
    capture(store, work, "exp", "tag")
    times = (work / "x").stat()
    (work / "x").write_bytes(b"b" * 5000)
    os.utime(work / "x", ns=(times.st_atime_ns, times.st_mtime_ns))
    again = capture(store, work, "exp", "tag")
    assert again.created
    assert b"".join(read_file(store, again.version, b"x")) == b"b" * 5000


@pytest.mark.parametrize("_", range(5))
def test_a_change_within_one_tick_of_the_clock_is_seen(store, work, _):
    for letter in b"abcdefgh":
        (work / "x").write_bytes(bytes([letter]) * 300)
        version = capture(store, work, "exp", "tag").version
        assert b"".join(read_file(store, version, b"x")) == bytes([letter]) * 300


def test_equal_folders_have_equal_ids_whatever_the_place_machine_and_order(tmp_path, store, work):
    fill(work)
    elsewhere = tmp_path / "quite" / "elsewhere"
    shutil.copytree(work, elsewhere, symlinks=True)
    backwards = tmp_path / "backwards"
    for path in sorted(work.rglob("*"), reverse=True):
        target = backwards / path.relative_to(work)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            shutil.copyfile(path, target)
    made = [capture(store, folder, "exp", "tag") for folder in (work, elsewhere, backwards)]
    assert [one.created for one in made] == [True, False, False]
    with open_store(MemoryBackend(), home=tmp_path / "another") as other:
        assert capture(other, backwards, "x", "y").version.manifest_id == made[0].version.manifest_id
        assert capture(other, work, "x", "z", compression=False).version.manifest_id == made[0].version.manifest_id


def test_a_small_leaf_beside_a_root_that_no_record_holds(store, work, out, monkeypatch):
    monkeypatch.setattr(leaf, "ENTRY_LIMIT", 4)
    monkeypatch.setattr(root, "INLINE_LIMIT", 600)
    for number in range(40):
        (work / f"{number:02}").write_bytes(b"%d" % number)
    capture(store, work, "exp", "tag")
    (work / "20").write_bytes(b"new")
    version = capture(store, work, "exp", "tag").version
    materialise(store, version, out / "here")
    assert snapshot(out / "here") == snapshot(work)


def test_ids_do_not_depend_on_history(tmp_path, store, work):
    source = random.Random(4)
    for number in range(1200):
        (work / f"{source.randrange(10**6)}-{number}").write_bytes(b"%d" % number)
    for _ in range(4):
        for path in source.sample(sorted(work.iterdir()), 30):
            path.unlink()
        for _ in range(30):
            (work / f"{source.randrange(10**6)}").write_bytes(source.randbytes(30))
        version = capture(store, work, "exp", "tag").version
    with open_store(MemoryBackend(), home=tmp_path / "another") as other:
        assert capture(other, work, "x", "y").version.manifest_id == version.manifest_id


def test_a_renamed_folder_stores_nothing_but_names(store, work):
    fill(work)
    capture(store, work, "exp", "tag")
    (work / "sub").rename(work / "renamed")
    (work / "big").rename(work / "renamed" / "bigger")
    again = capture(store, work, "exp", "tag")
    assert again.created
    assert again.new_chunks == 0
    assert again.bytes_stored == 0


def test_one_byte_inserted_stores_a_chunk_or_two(store, work):
    data = random.Random(1).randbytes(12 << 20)
    (work / "x").write_bytes(data)
    capture(store, work, "exp", "tag")
    (work / "x").write_bytes(data[: 5 << 20] + b"!" + data[5 << 20 :])
    again = capture(store, work, "exp", "tag")
    assert again.new_chunks <= 3
    assert again.bytes_stored < 2 << 20


def log(seed, size):
    source = random.Random(seed)
    return b"".join(b"step %d loss %f\n" % (at, source.random()) for at in range(size // 25))


@pytest.mark.parametrize("name", ["train.log", "events.out.tfevents.1", "output", "metrics.jsonl"])
def test_of_a_log_that_grew_the_tail_is_read(store, work, name):
    (work / name).write_bytes(log(1, 8 << 20))
    capture(store, work, "exp", "tag")
    with (work / name).open("ab") as file:
        file.write(b"more lines\n" * 1000)
    again = capture(store, work, "exp", "tag")
    assert again.created
    assert again.bytes_read < 3 << 20
    assert b"".join(read_file(store, again.version, name.encode())) == (work / name).read_bytes()


@pytest.mark.parametrize("grow", [0, 10])
def test_a_log_that_was_replaced_or_edited_is_read_whole(store, work, grow):
    data = bytearray(log(1, 8 << 20))
    (work / "train.log").write_bytes(data)
    capture(store, work, "exp", "tag")
    data[1 << 20] ^= 1
    if grow:
        (work / "new").write_bytes(data + b"x" * grow)
        (work / "new").rename(work / "train.log")
    else:
        with (work / "train.log").open("r+b") as file:
            file.seek(1 << 20)
            file.write(data[1 << 20 : (1 << 20) + 1])
    again = capture(store, work, "exp", "tag")
    assert b"".join(read_file(store, again.version, b"train.log")) == (work / "train.log").read_bytes()


def test_a_log_that_was_cut_short_or_begun_anew(store, work):
    for data in (log(1, 8 << 20), log(1, 2 << 20), log(2, 9 << 20), b""):
        (work / "train.log").write_bytes(data)
        made = capture(store, work, "exp", "tag")
        assert b"".join(read_file(store, made.version, b"train.log")) == data


def test_studioml_ignore_and_ignore_have_gitignore_semantics(store, work):
    fill(work)
    (work / ".studioml_ignore").write_text("*.tmp\n/sub/small-*\n!small-3\nempty/\n# a comment\n")
    (work / "a.tmp").write_bytes(b"x")
    (work / "sub" / "b.tmp").write_bytes(b"x")
    (work / "keep").write_bytes(b"x")
    version = capture(store, work, "exp", "tag", ignore=["tiny", "keep", "link"]).version
    assert paths(store, version) == {".studioml_ignore", "big", "sub", "sub/small-3"}
    (work / ".studioml_ignore").unlink()
    assert "sub/b.tmp" in paths(store, capture(store, work, "exp", "tag").version)


@pytest.mark.parametrize("content", [b"\xff\xfe[\n", b"", b"\0", b"!\n", b"[z-a]\n", b"**/**/**\n"])
def test_an_ignore_file_may_hold_anything(store, work, content):
    (work / ".studioml_ignore").write_bytes(content)
    (work / "x").write_bytes(b"x")
    try:
        capture(store, work, "exp", "tag")
    except UsageError as error:
        assert ".studioml_ignore" in str(error)


def test_an_ignore_file_that_is_a_folder_says_so(store, work):
    (work / ".studioml_ignore").mkdir()
    (work / "x").write_bytes(b"x")
    try:
        assert "x" in paths(store, capture(store, work, "exp", "tag").version)
    except LocalIOError as error:
        assert ".studioml_ignore" in str(error)


@pytest.mark.own_store
def test_excluded_folders_and_studio_s_own_are_left_out(tmp_path):
    fill(tmp_path / "other" / "artifact")
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / ".x.studio-partial").mkdir()
    (tmp_path / ".x.studio-partial" / "tree").write_bytes(b"partial")
    (tmp_path / "home").mkdir()
    with open_store(tmp_path / "a" / "store", home=tmp_path / "home") as store:
        version = capture(store, tmp_path, "exp", "tag", exclude=[tmp_path / "other" / "artifact"]).version
        assert paths(store, version) == {"a", "home", "mine", "other"}
        assert not capture(store, tmp_path, "exp", "tag", exclude=[tmp_path / "other" / "artifact"]).created
        for own in (tmp_path / "a" / "store", tmp_path / "a" / "store" / "versions", tmp_path / "home" / "cache"):
            with pytest.raises(UsageError, match="belongs to studio itself"):
                capture(store, own, "exp", "tag")


def test_a_folder_can_be_captured_to_two_tags_and_experiments(store, work, out):
    fill(work)
    one = capture(store, work, "exp", "one")
    two = capture(store, work, "other", "two")
    assert two.created
    assert two.bytes_read == 0
    assert (one.version.number, two.version.number) == (1, 1)
    materialise(store, two.version, out / "here")
    assert snapshot(out / "here") == snapshot(work)


def test_a_final_capture_of_an_unchanged_folder_makes_no_version(store, work):
    capture(store, fill(work), "exp", "tag")
    assert not capture(store, work, "exp", "tag", final=True).created
    assert len(list(list_versions(store, "exp", "tag"))) == 1


def test_a_single_file_is_a_version_of_its_own(store, work, out):
    (work / "model.pt").write_bytes(b"weights" * 1000)
    first = capture(store, work / "model.pt", "exp", "tag")
    assert first.version.is_file
    assert not capture(store, work / "model.pt", "exp", "tag").created
    (work / "model.pt").write_bytes(b"heavier" * 1000)
    second = capture(store, work / "model.pt", "exp", "tag")
    assert second.version.number == 2
    assert b"".join(read_file(store, second.version, b"")) == b"heavier" * 1000
    folder = capture(store, work, "exp", "tag")
    assert folder.created
    assert not folder.version.is_file
    assert folder.version.number == 3


def test_a_linked_folder_and_a_linked_file_are_captured_as_what_they_lead_to(store, work, tmp_path):
    fill(work)
    (tmp_path / "way").symlink_to(work)
    (tmp_path / "file").symlink_to(work / "tiny")
    assert "big" in paths(store, capture(store, tmp_path / "way", "exp", "tag").version)
    assert capture(store, tmp_path / "file", "exp", "file").version.is_file


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "ä", "a b", "-x", "x" * 129, "\0"])
@pytest.mark.own_store
def test_a_bad_name_is_refused_before_anything_is_read(store, work, name):
    for experiment, tag in ((name, "tag"), ("exp", name)):
        with pytest.raises(UsageError):
            capture(store, work, experiment, tag)
    assert keys(store) == ["format.json"]


def test_what_is_not_there_is_one_sentence(store, work):
    with pytest.raises(NotFoundError, match="does not exist"):
        capture(store, work / "nothing", "exp", "tag")
    (work / "file").write_bytes(b"")
    with pytest.raises(LocalIOError, match="cannot be read"):
        capture(store, work / "file" / "below", "exp", "tag")
    (work / "loop").symlink_to("loop")
    with pytest.raises(LocalIOError, match="cannot be read"):
        capture(store, work / "loop", "exp", "tag")


def test_buffers_go_with_the_capture_and_do_not_wait_for_the_cycle_collector(store, work):
    """A daemon captures every minute, and cycles are collected much later."""
    gc.collect()
    gc.disable()
    try:
        for number in range(3):
            (work / "data").write_bytes(random.Random(number).randbytes(2_000_000))
            capture(store, work, "exp", "tag")
            assert not [found for found in gc.get_objects() if isinstance(found, ArenaBuffer)]
    finally:
        gc.enable()


@pytest.mark.own_store
def test_no_thread_and_no_descriptor_is_left(store, work, out):
    fill(work)
    capture(store, work, "exp", "tag")
    threads, before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for number in range(3):
        (work / "big").write_bytes(random.Random(number).randbytes(3 << 20))
        version = capture(store, work, "exp", "tag").version
        materialise(store, version, out / f"{number}")
        materialise(store, version, out / "one")
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= before
