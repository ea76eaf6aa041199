"""Files that change while they are captured: a version holds one state of each file, or the one before."""

import os
import subprocess
import sys
import threading
import time

import pytest
from tests.privilege import create_only, url_of
from tests.reliability.folders import fill, names, snapshot
from tests.reliability.writers import BLOCK, WRITERS, generation, vanishing, whole, writing

from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions, resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.listing import read_file
from studio_cas.worktree.materialise import materialise


@pytest.mark.parametrize("blocks", [2, 1500], ids=["8K", "6M"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_is_rewritten_is_never_torn(store, work, writer, blocks):
    path = work / "model.bin"
    path.write_bytes(generation(0, blocks))
    (work / "other").write_bytes(b"other")
    capture(store, work, "exp", "tag")
    with writing(lambda number: writer(path, blocks, number, 0.03)):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            made = capture(store, work, "exp", "tag")
            assert set(made.stale) <= {"model.bin"}
    for version in list_versions(store, "exp", "tag"):
        try:
            data = b"".join(read_file(store, version, b"model.bin"))
        except Exception as error:  # noqa: BLE001 (it may have been gone)
            assert writer is vanishing, error
            assert "has no path" in str(error)
            continue
        assert whole(data), f"{version.name} is torn"
        assert b"".join(read_file(store, version, b"other")) == b"other"
    last = capture(store, work, "exp", "tag")
    assert b"".join(read_file(store, last.version, b"model.bin")) == path.read_bytes()


def test_a_file_that_is_open_for_writing_keeps_its_earlier_state(store, work):
    path = work / "model.bin"
    path.write_bytes(generation(1, 300))
    first = capture(store, work, "exp", "tag")
    assert first.stale == ()
    with path.open("r+b", buffering=0) as file:
        file.write(generation(2, 100))
        (work / "new").write_bytes(b"new")
        held = capture(store, work, "exp", "tag")
        assert held.stale == ("model.bin",)
        assert held.version.stale == ("model.bin",)
        assert b"".join(read_file(store, held.version, b"model.bin")) == generation(1, 300)
        file.write(generation(2, 200))
    closed = capture(store, work, "exp", "tag")
    assert closed.stale == ()
    assert closed.created
    assert b"".join(read_file(store, closed.version, b"model.bin")) == generation(2, 300)


def test_a_new_file_that_is_open_for_writing_comes_with_the_next_version(store, work):
    (work / "there").write_bytes(b"there")
    with (work / "half").open("wb", buffering=0) as file:
        file.write(b"half")
        made = capture(store, work, "exp", "tag")
        assert made.stale == ("half",)
        assert made.version.files == 1
    assert capture(store, work, "exp", "tag").version.files == 2


def test_a_mapped_file_that_is_written_is_not_torn(store, work):
    import mmap

    path = work / "model.bin"
    path.write_bytes(generation(1, 300))
    capture(store, work, "exp", "tag")
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped[: BLOCK * 100] = generation(2, 100)
    held = capture(store, work, "exp", "tag")
    assert whole(b"".join(read_file(store, held.version, b"model.bin")))
    mapped[BLOCK * 100 :] = generation(2, 200)
    mapped.close()
    time.sleep(0.05)
    last = capture(store, work, "exp", "tag")
    assert b"".join(read_file(store, last.version, b"model.bin")) == generation(2, 300)


@pytest.mark.parametrize("name", ["train.log", "metrics.jsonl", "events.out.tfevents.1"])
def test_a_log_that_grows_is_a_beginning_of_itself(store, work, name):
    path = work / name
    path.write_bytes(b"")

    def grow(number):
        file.write(generation(number, 20))
        time.sleep(0.01)

    with path.open("ab", buffering=0) as file, writing(grow):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            capture(store, work, "exp", "tag")
    final = path.read_bytes()
    sizes = []
    for version in list_versions(store, "exp", "tag"):
        data = b"".join(read_file(store, version, os.fsencode(name)))
        assert final.startswith(data)
        sizes.append(len(data))
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 2


def test_a_folder_that_goes_while_it_is_captured(store, work, out):
    import shutil

    (work / "stays").write_bytes(b"stays")

    def work_on(number):
        folder = work / f"f{number % 3}"
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir()
        for index in range(40):
            (folder / f"{index}").write_bytes(generation(number, 1))

    with writing(work_on):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            capture(store, work, "exp", "tag")
    for version in list_versions(store, "exp", "tag"):
        dest = out / str(version.number)
        materialise(store, version, dest)
        for path, value in snapshot(dest).items():
            assert value == ("folder",) or path == b"stays" or whole(value[-1])
    last = capture(store, work, "exp", "tag").version
    materialise(store, last, out / "last")
    assert snapshot(out / "last") == snapshot(work)


def test_what_is_replaced_by_another_kind_while_it_is_captured(store, work, out):
    import shutil

    (work / "stays").write_bytes(b"stays")

    def work_on(number):
        path = work / "it"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if number % 4 == 0:
            path.mkdir()
            (path / "in").write_bytes(b"in")
        elif number % 4 == 1:
            path.symlink_to("/etc/passwd")
        elif number % 4 == 2:
            os.mkfifo(path)
        else:
            path.write_bytes(generation(1, 2))

    with writing(work_on):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            capture(store, work, "exp", "tag")
    for version in list_versions(store, "exp", "tag"):
        dest = out / str(version.number)
        materialise(store, version, dest, links="skip")
        found = snapshot(dest)
        assert found.pop(b"stays") == ("file", False, b"stays")
        for value in found.values():
            assert value in (("folder",), ("file", False, b"in"), ("file", False, generation(1, 2)))


CHILD = """
import sys
from pathlib import Path
from studio_cas.store.store import open_store
from studio_cas.worktree.capture import capture
base, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
home = base / ("home" if sys.argv[4] == "shared" else f"home-{who}")
print("ready", flush=True)
sys.stdin.readline()
with open_store(sys.argv[5], home=home) as store:
    for number in range(count):
        (base / who / "file").write_bytes((f"{who} {number} " * 9000).encode())
        (base / who / "big").write_bytes(f"{who} {number}".encode() + bytes(range(256)) * 2000)
        made = capture(store, base / who, "exp", "tag")
        assert made.created
        print(made.version.number, flush=True)
"""


@pytest.mark.parametrize("homes", ["shared", "own"])
@pytest.mark.parametrize(("processes", "count"), [(2, 6), (6, 3)])
def test_processes_that_capture_to_one_tag_at_once(request, tmp_path, out, processes, count, homes):
    where = url_of(tmp_path / "store") if create_only(request.config) else str(tmp_path / "store")
    children = []
    for who in map(str, range(processes)):
        fill(tmp_path / who, seed=int(who), big=100_000)
        argv = [sys.executable, "-c", CHILD, str(tmp_path), who, str(count), homes, where]
        children.append(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    for child in children:
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.stdin.write(b"\n")
        child.stdin.flush()
    told = {}
    for who, child in enumerate(children):
        answer, wrong = child.communicate(timeout=60)
        assert child.returncode == 0, wrong.decode()
        told[str(who)] = [int(line) for line in answer.split()]
    assert sorted(number for numbers in told.values() for number in numbers) == list(range(1, processes * count + 1))
    with open_store(tmp_path / "store", home=tmp_path / "reader") as store:
        assert [version.number for version in list_versions(store, "exp", "tag")] == list(
            range(processes * count, 0, -1)
        )
        for who, numbers in told.items():
            assert numbers == sorted(numbers)
            for index, number in enumerate(numbers):
                materialise(store, resolve(store, f"exp/tag@{number}"), out / f"{number}")
                assert (out / f"{number}" / "file").read_bytes() == (f"{who} {index} " * 9000).encode()
                assert (out / f"{number}" / "tiny").read_bytes() == (tmp_path / who / "tiny").read_bytes()
    assert len(names(out)) == processes * count


def test_pulls_into_one_destination_at_once(store, work, out):
    """One of them does it, the others wait for a later moment; never a mixture."""
    from studio_cas.errors import ConflictError

    fill(work)
    one = capture(store, work, "exp", "tag").version
    first = snapshot(work)
    fill(work, seed=2)
    two = capture(store, work, "exp", "tag").version
    second = snapshot(work)
    raised = []

    def pull(version):
        try:
            materialise(store, version, out / "here", force=True)
        except ConflictError as error:
            raised.append(error)

    for _ in range(15):
        workers = [threading.Thread(target=pull, args=(version,)) for version in (one, two, one, two)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert snapshot(out / "here") in (first, second)
        assert names(out) == ["here"]
    assert all("under way" in str(error) or "was filled" in str(error) for error in raised)
