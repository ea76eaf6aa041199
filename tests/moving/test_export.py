"""Artifacts as archives: what comes out is what went in, the same bytes each time, and nothing of what is damaged."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import zipfile
import zlib

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.codec.streams import ZstdReader
from studio_cas.errors import ConflictError, CorruptError, NotFoundError, UsageError
from studio_cas.moving.archives import Kind, TarWriter, ZipWriter, kind_of
from studio_cas.moving.export import export, export_to_file
from studio_cas.store.store import open_store
from studio_cas.worktree.capture import capture
from studio_cas.worktree.listing import EntryHead

LONG = "a" * 120 + "/" + "b" * 200
ODD = os.fsdecode(b"odd-\xff\xfe.bin")


def begun(path: bytes, size: int = 0, **more) -> EntryHead:
    return EntryHead(path, more.get("kind", "file"), size, more.get("executable", False), more.get("mtime_ns", 0), b"")


@pytest.fixture
def folder(tmp_path):
    """Every kind of entry, and names that a plain tar header cannot hold."""
    root = tmp_path / "folder"
    (root / "empty").mkdir(parents=True)
    (root / LONG).parent.mkdir()
    (root / LONG).write_bytes(b"long name")
    (root / "big.bin").write_bytes(os.urandom(5_000_000))
    (root / "zeros").write_bytes(bytes(3_000_000))
    (root / "run.sh").write_text("#!/bin/sh\necho hello\n")
    (root / "run.sh").chmod(0o755)
    (root / "nothing").write_bytes(b"")
    (root / "link").symlink_to("big.bin")
    (root / "gr\u00fc\u00df.txt").write_text("hello\n")
    for number in range(300):
        (root / f"small-{number:03}").write_bytes(b"%d" % number * 800)
    for path in root.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return root


def archived(store, version, kind, **options) -> bytes:
    out = io.BytesIO()
    made = export(store, version, out.write, kind, **options)
    assert made.written == len(out.getvalue())
    return out.getvalue()


def plain(kind: Kind, data: bytes) -> bytes:
    if kind is Kind.tar_gz:
        return zlib.decompress(data, 31)
    if kind is Kind.tar_zst:
        return ZstdReader(io.BytesIO(data)).read(-1)
    return data


def tree(root) -> dict[str, tuple[object, ...]]:
    """All that an archive keeps of a folder."""
    found: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder",)
        else:
            executable = bool(status.st_mode & stat.S_IXUSR)
            found[name] = ("file", path.read_bytes(), executable, int(status.st_mtime))
    return found


@pytest.mark.parametrize("kind", [Kind.tar, Kind.tar_gz, Kind.tar_zst])
def test_a_tar_has_all_that_was_captured(store, folder, kind, tmp_path):
    (folder / ODD).write_bytes(b"not UTF-8")
    version = capture(store, folder, "exp", "tag").version
    data = plain(kind, archived(store, version, kind))
    back = tmp_path / "back"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        tar.extractall(back, filter="fully_trusted")
    assert tree(back) == tree(folder)
    assert {(m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, "", "")}
    assert [m.name for m in members] == sorted(
        (m.name for m in members), key=lambda name: os.fsencode(name).split(b"/")
    )


def test_the_tar_of_the_system_reads_it(store, folder, tmp_path):
    (folder / ODD).write_bytes(b"not UTF-8")
    version = capture(store, folder, "exp", "tag").version
    back = tmp_path / "back"
    back.mkdir()
    data = archived(store, version, Kind.tar_gz)
    subprocess.run(["tar", "-xzf", "-", "-C", back], input=data, check=True, capture_output=True)
    assert tree(back) == tree(folder)


def test_a_zip_has_all_that_was_captured(store, folder):
    version = capture(store, folder, "exp", "tag").version
    found = {}
    with zipfile.ZipFile(io.BytesIO(archived(store, version, Kind.zip))) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if stat.S_ISLNK(mode):
                found[info.filename] = ("link", archive.read(info).decode())
            elif stat.S_ISDIR(mode):
                assert info.is_dir()
                found[info.filename.rstrip("/")] = ("folder",)
            else:
                assert info.date_time == (2020, 9, 13, 12, 26, 40)
                found[info.filename] = ("file", archive.read(info), bool(mode & stat.S_IXUSR), 1_600_000_000)
    assert found == tree(folder)


@pytest.mark.parametrize("kind", list(Kind))
def test_two_stores_give_the_same_bytes(store, folder, kind, tmp_path):
    version = capture(store, folder, "exp", "tag").version
    once = archived(store, version, kind)
    assert archived(store, version, kind) == once
    with open_store(MemoryBackend(), home=tmp_path / "other") as other:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "x").write_bytes(b"x")
        capture(other, tmp_path / "first", "exp", "other")
        again = capture(other, folder, "renamed", "tag", compression=False).version
        assert archived(other, again, kind) == once


def test_with_a_fixed_time_only_the_content_counts(store, folder):
    first = archived(store, capture(store, folder, "exp", "a").version, Kind.tar, mtime=0)
    for path in folder.rglob("*"):
        os.utime(path, follow_symlinks=False)
    second = archived(store, capture(store, folder, "exp", "b").version, Kind.tar, mtime=0)
    assert second == first
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert {member.mtime for member in tar} == {0}


def test_a_part_is_exported_relative_to_its_path(store, folder):
    version = capture(store, folder, "exp", "tag").version
    inner, _, base = LONG.partition("/")
    with tarfile.open(fileobj=io.BytesIO(archived(store, version, Kind.tar, path=inner.encode()))) as tar:
        assert tar.getnames() == [base]
    with tarfile.open(fileobj=io.BytesIO(archived(store, version, Kind.tar, path=LONG.encode()))) as tar:
        assert tar.getnames() == [base]
    with pytest.raises(NotFoundError):
        archived(store, version, Kind.tar, path=b"no/such")


def test_a_single_file_and_an_empty_folder_are_archives_too(store, tmp_path):
    (tmp_path / "one.bin").write_bytes(b"alone")
    (tmp_path / "none").mkdir()
    one = capture(store, tmp_path / "one.bin", "exp", "one").version
    none = capture(store, tmp_path / "none", "exp", "none").version
    with tarfile.open(fileobj=io.BytesIO(archived(store, one, Kind.tar))) as tar:
        assert [(member.name, member.size) for member in tar] == [("one.bin", 5)]
    assert archived(store, none, Kind.tar) == bytes(1024)
    assert zipfile.ZipFile(io.BytesIO(archived(store, none, Kind.zip))).namelist() == []


def test_a_file_in_many_parts_says_its_whole_size_first(store, tmp_path, monkeypatch):
    from studio_cas.formats import leaf

    monkeypatch.setattr(leaf, "PART_MINIMUM", 4)
    monkeypatch.setattr(leaf, "PART_LIMIT", 6)
    content = os.urandom(9_000_000)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "a.bin").write_bytes(content)
    (tmp_path / "large" / "b.bin").write_bytes(b"after it")
    version = capture(store, tmp_path / "large", "exp", "large").version
    with tarfile.open(fileobj=io.BytesIO(archived(store, version, Kind.tar))) as tar:
        assert [(member.name, member.size) for member in tar] == [("a.bin", 9_000_000), ("b.bin", 8)]
        opened = tar.extractfile("a.bin")
        assert opened is not None
        assert opened.read() == content


def damage(backend: MemoryBackend) -> None:
    """Flip a byte in the middle of each data pack."""
    for key in [found.key for found in backend.list("packs/")]:
        data = bytearray(backend.read(key))
        data[len(data) // 2] ^= 1
        backend.delete(key)
        backend.create(key, [bytes(data)])


@pytest.fixture
def damaged(folder, tmp_path):
    backend = MemoryBackend()
    with open_store(backend, home=tmp_path / "home") as store:
        version = capture(store, folder, "exp", "tag", compression=False).version
        damage(backend)
        yield store, version


@pytest.mark.parametrize("kind", list(Kind))
def test_of_damage_nothing_is_left_in_a_file(damaged, kind, tmp_path):
    store, version = damaged
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CorruptError, match=r"exp/tag@1: .*damaged"):
        export_to_file(out / f"a.{kind}", lambda write: export(store, version, write, kind))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kind", list(Kind))
def test_a_stream_that_meets_damage_is_no_whole_archive(damaged, kind):
    store, version = damaged
    out = io.BytesIO()
    with pytest.raises(CorruptError):
        export(store, version, out.write, kind)
    data = out.getvalue()
    if kind is Kind.zip:
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(data))
    elif kind is Kind.tar_gz:
        reader = zlib.decompressobj(31)
        reader.decompress(data)
        assert not reader.eof
    else:
        with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(plain(kind, data))) as tar:
            for member in tar:
                if member.isfile():
                    tar.extractfile(member).read()


def test_an_existing_file_is_replaced_only_where_asked(store, folder, tmp_path):
    version = capture(store, folder, "exp", "tag").version
    target = tmp_path / "a.tar"
    target.write_text("mine")

    def work(write):
        return export(store, version, write, Kind.tar)

    with pytest.raises(ConflictError, match="--force"):
        export_to_file(target, work)
    assert target.read_text() == "mine"
    export_to_file(target, work, force=True)
    assert tarfile.is_tarfile(target)
    with pytest.raises(ConflictError, match="is a folder"):
        export_to_file(tmp_path, work, force=True)


def test_of_two_exports_to_one_file_the_second_is_told(store, folder, tmp_path):
    version = capture(store, folder, "exp", "tag").version
    target = tmp_path / "a.tar"

    def nested(write):
        with pytest.raises(ConflictError, match="under way"):
            export_to_file(target, lambda inner: export(store, version, inner, Kind.tar))
        return export(store, version, write, Kind.tar)

    export_to_file(target, nested)
    assert tarfile.is_tarfile(target)


def test_what_a_killed_export_left_is_used_again(store, folder, tmp_path):
    version = capture(store, folder, "exp", "tag").version
    left = tmp_path / ".a.tar.studio-partial"
    left.write_bytes(bytes(20_000_000))
    export_to_file(tmp_path / "a.tar", lambda write: export(store, version, write, Kind.tar))
    assert not left.exists()
    assert (tmp_path / "a.tar").read_bytes() == archived(store, version, Kind.tar)


def test_a_size_beyond_8_gib_stands_in_a_pax_header():
    out = io.BytesIO()
    TarWriter(out.write, None).begin(begun(b"huge", 9 * 2**30))
    info = tarfile.TarInfo.frombuf(out.getvalue()[-512:], "utf-8", "surrogateescape")
    assert info.name == "huge"
    assert f"size={9 * 2**30}\n".encode() in out.getvalue()


def test_a_zip_member_beyond_the_limit_is_zip64(monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)  # 2 GiB; a real one takes half a minute
    out = io.BytesIO()
    writer = ZipWriter(out.write, None)
    content = os.urandom(2000)
    writer.begin(begun(b"huge", len(content)))
    writer.data(content)
    writer.finish()
    with zipfile.ZipFile(out) as archive:
        assert archive.read("huge") == content
        assert archive.getinfo("huge").extract_version == zipfile.ZIP64_VERSION


def test_a_zip_refuses_a_name_that_it_cannot_hold():
    writer = ZipWriter(io.BytesIO().write, None)
    with pytest.raises(UsageError, match="write a tar"):
        writer.begin(begun(b"odd-\xff"))
    writer.abandon()


@pytest.mark.parametrize("mtime_ns", [-(2**63), -1, 0, 2**63 - 1])
def test_times_beyond_what_an_archive_knows_are_the_nearest(mtime_ns):
    out = io.BytesIO()
    for writer in (TarWriter(out.write, None), ZipWriter(out.write, None)):
        writer.begin(begun(b"a", mtime_ns=mtime_ns))
        writer.finish()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.tar", "tar"), ("a.tar.gz", "tar.gz"), ("a.TGZ", "tar.gz"), ("a.b.tar.zst", "tar.zst"), ("x/a.zip", "zip")],
)
def test_the_name_says_the_kind(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["a", "a.gz", "tar", "a.tar.bz2"])
def test_a_name_that_says_nothing_is_refused(name):
    with pytest.raises(UsageError, match="--format"):
        kind_of(name)
