"""Full disks: one clear sentence, nothing lost, and it works once there is room."""

import errno
import os
import random
import shutil
import subprocess

import pytest
from tests.reliability.daemons import wait_until
from tests.reliability.folders import as_nobody, fill, names, snapshot

from studio_cas.errors import NoSpaceError
from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions, resolve
from studio_cas.worktree.blobcache import ensure
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

MIB = 1 << 20


def mounted(folder, *options):
    return subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], check=False).returncode == 0


@pytest.fixture
def small(tmp_path):
    """A file system of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    if not mounted(folder, "-o", "size=8m,mode=777"):
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def ballast(folder, left):
    """Fill the file system of `folder` but for `left` bytes."""
    path = folder / "ballast"
    with path.open("wb") as file:
        for _ in range(10):  # others write there meanwhile
            size = shutil.disk_usage(folder).free - left
            try:
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                return path
    raise AssertionError("there was never room for the ballast")


def one_sentence(error, *parts):
    text = str(error)
    assert "\n" not in text
    assert "Errno" not in text
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize("left", [0, 4096, 20_000, 300_000, 2 * MIB])
@pytest.mark.own_store
def test_a_full_store_keeps_what_it_has_and_takes_more_when_there_is_room(tmp_path, small, work, out, left):
    fill(work)
    with open_store(small / "store", home=tmp_path / "home") as store:
        capture(store, work, "exp", "tag")
        first = snapshot(work)
        (work / "big").write_bytes(random.Random(5).randbytes(3 * MIB))
        filler = ballast(small, left)
        with pytest.raises(NoSpaceError) as raised:
            capture(store, work, "exp", "tag")
        one_sentence(raised.value, str(small), "No space left on device")
        assert raised.value.exit_code == 7
        assert not list(small.rglob(".new-*"))
        materialise(store, resolve(store, "exp/tag"), out / "one")
        assert snapshot(out / "one") == first
        filler.unlink()
        made = capture(store, work, "exp", "tag")
        assert made.version.number == 2
        materialise(store, made.version, out / "two")
        assert snapshot(out / "two") == snapshot(work)


def test_a_store_that_fills_at_any_moment_of_a_capture(tmp_path, small, work, out):
    """Whatever call runs out of room, each version there is, is whole."""
    source = random.Random(1)
    expected = {}
    with open_store(small / "store", home=tmp_path / "home") as store:
        for left in range(0, 400_000, 16_384):
            (work / "data").write_bytes(source.randbytes(150_000))
            filler = ballast(small, left)
            try:
                made = capture(store, work, "exp", "tag")
                expected[made.version.number] = snapshot(work)
            except NoSpaceError:
                pass
            finally:
                filler.unlink()
        assert len(expected) > 3
        assert {version.number for version in list_versions(store, "exp", "tag")} == set(expected)
        for number, content in expected.items():
            materialise(store, resolve(store, f"exp/tag@{number}"), out / str(number))
            assert snapshot(out / str(number)) == content


@pytest.mark.own_store
def test_a_new_store_on_a_full_disk(tmp_path, small, work):
    fill(work)
    filler = ballast(small, 0)
    with pytest.raises(NoSpaceError) as raised, open_store(small / "store", home=tmp_path / "home") as store:
        capture(store, work, "exp", "tag")
    one_sentence(raised.value, str(small))
    filler.unlink()
    with open_store(small / "store", home=tmp_path / "home") as store:
        assert capture(store, work, "exp", "tag").created


@pytest.mark.parametrize("left", [0, 20_000, MIB, 2 * MIB])
def test_a_pull_to_a_full_disk_leaves_nothing(store, small, work, left):
    version = capture(store, fill(work), "exp", "tag").version
    filler = ballast(small, left)
    with pytest.raises(NoSpaceError) as raised:
        materialise(store, version, small / "here")
    one_sentence(raised.value, str(small))
    assert names(small) == ["ballast"]
    filler.unlink()
    materialise(store, version, small / "here")
    assert snapshot(small / "here") == snapshot(work)
    assert names(small) == ["here"]


@pytest.mark.parametrize("inodes", [3, 6, 10])
def test_a_pull_to_a_disk_that_takes_no_more_files(store, tmp_path, small, work, inodes):
    """The free bytes said that there is room."""
    version = capture(store, fill(work), "exp", "tag").version
    subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", str(small)], check=True)
    with pytest.raises(NoSpaceError) as raised:
        materialise(store, version, small / "here")
    one_sentence(raised.value, "disk is full")
    assert names(small) == []
    subprocess.run(["mount", "-o", "remount,nr_inodes=1000", str(small)], check=True)
    materialise(store, version, small / "here")
    assert snapshot(small / "here") == snapshot(work)
    assert names(small) == ["here"]


@pytest.mark.parametrize("left", [0, 4096, 100_000, MIB])
def test_an_update_on_a_full_disk_changes_nothing(store, small, work, left):
    first = capture(store, fill(work), "exp", "tag").version
    materialise(store, first, small / "here")
    before = snapshot(small / "here")
    (work / "big").write_bytes(random.Random(4).randbytes(3 * MIB))
    (work / "sub" / "small-1").unlink()
    second = capture(store, work, "exp", "tag").version
    filler = ballast(small, left)
    with pytest.raises(NoSpaceError) as raised:
        materialise(store, second, small / "here")
    one_sentence(raised.value)
    assert snapshot(small / "here") == before
    assert names(small) == ["ballast", "here"]
    filler.unlink()
    materialise(store, second, small / "here")
    assert snapshot(small / "here") == snapshot(work)


def test_a_single_file_on_a_full_disk(store, small, work):
    fill(work)
    version = capture(store, work / "big", "exp", "tag").version
    (small / "file").write_bytes(b"mine")
    filler = ballast(small, MIB)
    with pytest.raises(NoSpaceError):
        materialise(store, version, small / "file", force=True)
    assert (small / "file").read_bytes() == b"mine"
    assert names(small) == ["ballast", "file"]
    filler.unlink()
    materialise(store, version, small / "file", force=True)
    assert (small / "file").read_bytes() == (work / "big").read_bytes()


@pytest.mark.parametrize("left", [0, 4096, 40_000, 100_000])
def test_a_full_home_stops_no_capture_and_no_pull(tmp_path, small, work, out, left):
    """Only caches are there."""
    for number in range(3000):
        (work / f"{number:04}-{'n' * 40}").write_bytes(b"%d" % number * 300)
    filler = ballast(small, left)
    with open_store(tmp_path / "store", home=small / "home") as store:
        made = capture(store, work, "exp", "tag")
        materialise(store, made.version, out / "here")
        assert snapshot(out / "here") == snapshot(work)
        (work / "more").write_bytes(b"more")
        assert capture(store, work, "exp", "tag").version.number == 2
        assert not capture(store, work, "exp", "tag").created
        materialise(store, resolve(store, "exp/tag"), out / "two")
    filler.unlink()
    with open_store(tmp_path / "store", home=small / "home") as store:
        assert not capture(store, work, "exp", "tag").created
        assert capture(store, work, "exp", "tag").bytes_read == 0


@pytest.mark.parametrize("left", [0, 20_000, MIB])
def test_a_full_blobcache_says_so_and_works_when_there_is_room(tmp_path, small, work, left):
    with open_store(tmp_path / "store", home=tmp_path / "home") as store:
        version = capture(store, fill(work), "exp", "tag").version
    with open_store(tmp_path / "store", home=small / "home") as store:
        filler = ballast(small, left)
        with pytest.raises(NoSpaceError) as raised:
            ensure(store, version)
        one_sentence(raised.value)
        filler.unlink()
        assert snapshot(ensure(store, version)).keys() == snapshot(work).keys()
        shown = [name for name in names(small / "home" / "blobcache") if not name.endswith(".lock")]
        assert shown == [version.manifest_id.hex()]


def test_a_home_that_may_not_be_written_stops_no_capture(tmp_path, work, open_to_all):
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    work.chmod(0o755)
    fill(work)
    home = tmp_path / "home"
    home.mkdir(mode=0o755)

    def captured():
        with open_store(tmp_path / "store", home=home) as store:
            version = capture(store, work, "exp", "tag", user="nobody").version
            materialise(store, version, tmp_path / "pulled")
            return version.number

    assert as_nobody(captured) == "1"
    assert snapshot(tmp_path / "pulled") == snapshot(work)


def test_the_command_line_says_it_in_one_line(tmp_path, small, work):
    import sys

    fill(work)
    ballast(small, 100_000)
    environment = {**os.environ, "STUDIOML_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.yaml").write_text(f"storage: {small}/store\n")
    done = subprocess.run(
        [sys.executable, "-m", "studio_cas.cli.main", "push", str(work), "exp/tag"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == NoSpaceError.exit_code, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "No space left on device" in done.stderr


@pytest.mark.own_store
def test_a_daemon_waits_for_room_and_goes_on(machine, small, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "first").write_bytes(b"first")
    machine.store = small / "store"
    machine.environment["STUDIOML_STORE"] = str(machine.store)
    process = machine.start(work, "exp/w", "--interval", "1s")
    wait_until(lambda: machine.number("exp/w") == 1)
    filler = ballast(small, 4096)
    (work / "big").write_bytes(random.Random(3).randbytes(MIB))
    trouble = wait_until(lambda: machine.told()[0]["trouble"])
    assert trouble["kind"] == "no_space"
    assert trouble["advice"].startswith("make room")
    one_sentence(trouble["sentence"], str(small), "No space left on device")
    assert machine.number("exp/w") == 1
    filler.unlink()
    wait_until(lambda: "big" in machine.content("exp/w"))
    assert machine.status()[0]["trouble"] is None
    process.terminate()
    assert process.wait(60) == 0


def test_a_daemon_with_a_full_home_keeps_its_folder(machine, small, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    machine.home = small / "home"
    machine.environment["STUDIOML_HOME"] = str(machine.home)
    process = machine.start(work, "exp/w", "--interval", "1s")
    wait_until(lambda: machine.number("exp/w") == 1)
    ballast(small, 0)
    (work / "file").write_bytes(b"x" * 3000)
    wait_until(lambda: machine.content("exp/w") == {"file": b"x" * 3000})
    process.terminate()
    assert process.wait(60) == 0
