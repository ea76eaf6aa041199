"""Whatever a folder can hold on Linux comes back as it was, or is named as left out."""

import os
import pwd
import socket
import sys

import pytest
from tests.reliability.folders import as_nobody, names, snapshot

from studio_cas.errors import LocalIOError, RefusedError, UsageError
from studio_cas.store.store import open_store
from studio_cas.store.versions import resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise
from studio_cas.worktree.removal import remove_tree

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")


def there_and_back(store, work, out, **options):
    """Capture, pull, and say what came back; the second pull, over the first, changes nothing."""
    made = capture(store, work, "exp", "tag")
    materialise(store, made.version, out / "here", **options)
    assert names(out) == ["here"]
    again = materialise(store, made.version, out / "here", **options)
    assert (again.files_written, again.files_deleted) == (0, 0)
    return made, snapshot(out / "here")


def pulled_over(store, work, out):
    """The next version, pulled over the last."""
    made = capture(store, work, "exp", "tag")
    materialise(store, made.version, out / "here")
    assert snapshot(out / "here") == snapshot(work)
    assert names(out) == ["here"]
    return made


def write(folder, name, data):
    (folder / os.fsdecode(name)).write_bytes(data)


@LINUX
def test_every_byte_that_a_name_may_hold(store, work, out):
    for byte in set(range(1, 256)) - {ord("/")}:
        for name in (bytes([byte]), b"x" + bytes([byte]), bytes([byte]) + b"x"):
            if name != b".":
                write(work, name, name)
    _, back = there_and_back(store, work, out)
    assert back == snapshot(work)
    assert len(back) > 700


@LINUX
def test_spaces_newlines_quotes_and_names_of_255_bytes(store, work, out):
    for name in [b" ", b"a b", b"line\nbreak", b"\xff\xfe", b"-rf", b"'\"$(x)", b"n" * 255, "é".encode() * 127, b"..."]:
        folder = work / os.fsdecode(b"in " + name[:240])
        folder.mkdir()
        for parent in (work, folder):
            write(parent, name, name * 100)
    made, back = there_and_back(store, work, out)
    assert back == snapshot(work)
    assert not made.skipped


def test_names_that_differ_in_case_only_are_two(store, work, out):
    (work / "Model").write_bytes(b"upper")
    (work / "model").write_bytes(b"lower")
    (work / "MODEL").mkdir()
    (work / "MODEL" / "x").write_bytes(b"in a folder")
    _, back = there_and_back(store, work, out)
    assert back == snapshot(work)


def test_names_around_the_separator_keep_their_order(store, work, out):
    for name in ["a", "a.b", "a-b", "a b", "a\x01", "a0"]:
        (work / f"{name}.d").mkdir()
        (work / f"{name}.d" / "x").write_bytes(name.encode())
        (work / name).write_bytes(name.encode())
    _, back = there_and_back(store, work, out)
    assert back == snapshot(work)


def deep(root, levels, name):
    """An open folder that many levels below `root`."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = below
    return folder


def write_in(folder, name, data):
    file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o666, dir_fd=folder)
    os.write(file, data)
    os.close(file)


@pytest.fixture
def shallow_afterwards(work, out):
    """pytest cannot remove folders as deep as those."""
    yield
    remove_tree(work)
    remove_tree(out)


@LINUX
@pytest.mark.parametrize(("levels", "name"), [(40, "d" * 250), (1200, "deep")])
def test_paths_longer_than_the_system_takes_at_once(store, work, out, shallow_afterwards, levels, name):
    folder = deep(work, levels, name)
    write_in(folder, "inline", b"small")
    write_in(folder, "large", os.urandom(300_000))
    os.symlink("inline", "link", dir_fd=folder)
    os.mkdir("empty", dir_fd=folder)
    made, back = there_and_back(store, work, out)
    assert made.skipped == ()
    assert back == snapshot(work)

    write_in(folder, "large", b"changed")
    write_in(folder, "new", b"new" * 1000)
    os.unlink("inline", dir_fd=folder)
    os.mkdir("another", dir_fd=folder)
    os.symlink("large", "link2", dir_fd=folder)
    os.close(folder)
    pulled_over(store, work, out)
    remove_deep(work)
    pulled_over(store, work, out)


def remove_deep(root):
    """Remove what is below a folder, however deep."""
    for path, (kind, *_) in sorted(snapshot(root).items(), reverse=True):
        opened, parts = os.open(root, os.O_RDONLY), path.split(b"/")
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY, dir_fd=opened)
            os.close(opened)
            opened = below
        (os.rmdir if kind == "folder" else os.unlink)(parts[-1], dir_fd=opened)
        os.close(opened)


def test_links_that_dangle_loop_or_stay_inside_come_back(store, work, out):
    (work / "d").mkdir()
    (work / "d" / "file").write_bytes(b"x")
    for name, target in [("dangling", "nowhere"), ("loop", "loop"), ("to-folder", "d"), ("d/up", "../d/file")]:
        (work / name).symlink_to(target)
    _, back = there_and_back(store, work, out)
    assert back == snapshot(work)
    assert back[b"loop"] == ("link", b"loop")


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "d/../../outside", "d/.."])
def test_links_that_lead_out_are_refused_skipped_or_made(store, work, out, target):
    (work / "d").mkdir()
    (work / "file").write_bytes(b"x")
    (work / "way").symlink_to(target)
    version = capture(store, work, "exp", "tag").version
    with pytest.raises(RefusedError, match=r"exp/tag@1: the link way -> .* leads out.*--links=skip"):
        materialise(store, version, out / "here")
    assert names(out) == []
    skipping = materialise(store, version, out / "here", links="skip")
    assert skipping.skipped_links == (f"way -> {target}",)
    assert snapshot(out / "here") == {b"d": ("folder",), b"file": ("file", False, b"x")}
    materialise(store, version, out / "here", links="skip")
    materialise(store, version, out / "all", links="allow")
    assert snapshot(out / "all") == snapshot(work)


def test_an_empty_folder_a_folder_of_empty_things_and_an_empty_file(store, work, out):
    _, back = there_and_back(store, work, out)
    assert back == {}
    (work / "empty").touch()
    (work / "none").mkdir()
    (work / "some" / "none").mkdir(parents=True)
    assert pulled_over(store, work, out).files == 1


def test_sparse_files_come_back_with_holes(store, work, out):
    with (work / "sparse").open("wb") as file:
        file.seek(300 << 20)
        file.write(b"end")
    with (work / "middle").open("wb") as file:
        file.write(b"begin" * 1000)
        file.seek(40 << 20)
        file.write(b"data" * 100_000)
        file.truncate(90 << 20)
    made, back = there_and_back(store, work, out)
    assert back == snapshot(work)
    assert made.bytes_read < 40 << 20
    assert sum(path.stat().st_blocks for path in (out / "here").iterdir()) * 512 < 30 << 20


def test_fifos_and_sockets_are_left_out_and_named(store, work, out, monkeypatch):
    os.mkfifo(work / "fifo")
    (work / "file").write_bytes(b"x")
    monkeypatch.chdir(work)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        made, back = there_and_back(store, work, out)
    assert back == {b"file": ("file", False, b"x")}
    assert made.skipped == ("fifo: is a FIFO, and is left out", "socket: is a socket, and is left out")
    assert made.version.skipped == made.skipped


def test_hard_links_come_back_as_equal_files(store, work, out):
    (work / "one").write_bytes(os.urandom(200_000))
    os.link(work / "one", work / "two")
    made, back = there_and_back(store, work, out)
    assert back == snapshot(work)
    assert made.bytes_stored < 250_000


def test_the_executable_bit_is_kept_and_its_change_is_a_change(store, work, out):
    (work / "run").write_text("#!/bin/sh\n")
    there_and_back(store, work, out)
    (work / "run").chmod(0o755)
    assert pulled_over(store, work, out).created
    (work / "run").chmod(0o644)
    assert pulled_over(store, work, out).created


def test_set_user_id_bits_are_not_given_back(store, work, out):
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o6755)
    version = capture(store, work, "exp", "tag").version
    materialise(store, version, out / "here")
    assert (out / "here" / "run").stat().st_mode & 0o7000 == 0
    assert (out / "here" / "run").stat().st_mode & 0o100


REPLACED = {
    "a file": lambda path: path.write_bytes(b"file" * 1000),
    "a folder": lambda path: (path.mkdir(), (path / "in").mkdir(), (path / "in" / "x").write_bytes(b"x")),
    "a link": lambda path: path.symlink_to("other"),
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("first", REPLACED)
@pytest.mark.parametrize("then", REPLACED)
def test_one_kind_replaces_another_between_versions(store, work, out, first, then):
    (work / "other").write_bytes(b"other")
    REPLACED[first](work / "it")
    there_and_back(store, work, out)
    if (work / "it").is_dir():
        (work / "it" / "in" / "x").unlink()
        (work / "it" / "in").rmdir()
        (work / "it").rmdir()
    else:
        (work / "it").unlink(missing_ok=True)
    REPLACED[then](work / "it")
    pulled_over(store, work, out)


@pytest.mark.parametrize("name", [".here.studio-partial", "x.studio-partial", ".studio-partial"])
def test_a_file_that_is_named_like_our_staging_folder(store, work, out, name):
    (work / name).write_bytes(b"theirs")
    _, back = there_and_back(store, work, out)
    assert back == {name.encode(): ("file", False, b"theirs")}


def test_a_folder_of_the_user_where_the_staging_folder_goes_is_not_removed(store, work, out):
    (work / "x").write_bytes(b"x")
    version = capture(store, work, "exp", "tag").version
    (out / ".here.studio-partial" / "tree").mkdir(parents=True)
    (out / ".here.studio-partial" / "tree" / "precious").write_bytes(b"theirs")
    (out / ".here.studio-partial" / "precious").write_bytes(b"theirs")
    before = snapshot(out)
    try:
        materialise(store, version, out / "here")
    except Exception:  # noqa: BLE001 (any answer will do, as long as it costs nothing)
        assert snapshot(out) == before
    assert (out / ".here.studio-partial" / "precious").read_bytes() == b"theirs"


@ROOT
def test_unreadable_files_and_folders_are_named_and_the_rest_is_captured(work, out, tmp_path, open_to_all):
    (work / "secret").write_bytes(b"secret")
    (work / "secret").chmod(0)
    (work / "closed").mkdir()
    (work / "closed" / "x").write_bytes(b"x")
    (work / "closed").chmod(0o700)
    (work / "listed").mkdir()
    (work / "listed" / "y").write_bytes(b"y")
    (work / "listed").chmod(0o744)
    (work / "open").write_bytes(b"open")
    (work / "open").chmod(0o644)
    work.chmod(0o755)
    where, home = tmp_path / "theirs", tmp_path / "their-home"

    def captured():
        with open_store(where, home=home) as theirs:
            return sorted(capture(theirs, work, "exp", "tag", user="nobody").skipped)

    answer = as_nobody(captured)
    assert "'secret: cannot be read: Permission denied'" in answer
    assert "'closed: cannot be listed: Permission denied'" in answer
    assert "'listed/y: cannot be read: Permission denied'" in answer
    with open_store(where, home=tmp_path / "my-home") as mine:
        materialise(mine, resolve(mine, "exp/tag"), out / "here")
    assert set(snapshot(out / "here")) == {b"open", b"closed", b"listed"}


@ROOT
def test_an_unreadable_root_is_one_sentence(work, tmp_path, open_to_all):
    (work / "x").write_bytes(b"x")
    work.chmod(0o700)

    def captured():
        with open_store(tmp_path / "theirs", home=tmp_path / "their-home") as theirs:
            return capture(theirs, work, "exp", "tag", user="nobody")

    assert as_nobody(captured) == f"LocalIOError: {work} cannot be read: Permission denied"


@ROOT
def test_a_destination_that_may_not_be_written_is_one_sentence(work, tmp_path, open_to_all):
    (work / "x").write_bytes(b"x")
    (work / "x").chmod(0o644)
    work.chmod(0o755)
    (tmp_path / "theirs-not").mkdir()

    def pulled():
        with open_store(tmp_path / "theirs", home=tmp_path / "their-home") as theirs:
            version = capture(theirs, work, "exp", "tag", user="nobody").version
            return materialise(theirs, version, tmp_path / "theirs-not" / "here")

    assert as_nobody(pulled).startswith("LocalIOError: ")
    assert names(tmp_path / "theirs-not") == []


def test_a_single_file_that_is_no_file_says_so(store, work):
    os.mkfifo(work / "fifo")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        capture(store, work / "fifo", "exp", "tag")


@pytest.mark.parametrize("name", [b"plain", b"with space\n", b"\xff\xfe", b"n" * 255])
def test_a_single_file_of_any_name(store, work, out, name):
    write(work, name, b"content" * 3000)
    version = capture(store, work / os.fsdecode(name), "exp", "tag").version
    materialise(store, version, out / "renamed")
    assert (out / "renamed").read_bytes() == b"content" * 3000
    (out / "folder").mkdir()
    materialise(store, version, out / "folder")
    assert set(snapshot(out / "folder")) == {name}
    assert names(out) == ["folder", "renamed"]


def test_a_single_file_that_may_not_be_read_is_one_sentence(store, work, monkeypatch):
    (work / "x").write_bytes(b"x")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("studio_cas.worktree.reading.open_below", refuse)
    with pytest.raises(LocalIOError, match="Permission denied"):
        capture(store, work / "x", "exp", "tag")


def test_the_user_of_a_machine_that_has_no_name(store, work, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    (work / "x").write_bytes(b"x")
    assert capture(store, work, "exp", "tag").version.user == str(os.getuid())
