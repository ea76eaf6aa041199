"""Archives of others: what is in them comes out, whatever their name says; what is unsafe or damaged does not."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reliability.folders import fill, snapshot

from studio_cas.errors import CorruptError, RefusedError
from studio_cas.moving.unpack_tree import UnpackTree
from studio_cas.moving.unpacking import unpack

COMPRESSIONS = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstandard.ZstdCompressor().compress,
    "several": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
    "twice": lambda data: bz2.compress(gzip.compress(data)),
}


def tar_of(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], kind: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **more) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    for key, value in more.items():
        setattr(info, key, value)
    return info


def file(name: str, content: bytes = b"x", **more) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, **more), content


def link(name: str, target: str) -> tarfile.TarInfo:
    return member(name, tarfile.SYMTYPE, target)


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@pytest.fixture
def place(tmp_path):
    """The folder to unpack in, and beside it nothing that may change."""
    folder = tmp_path / "place"
    folder.mkdir()
    yield folder
    assert os.listdir(tmp_path) == ["place"]


def unpacked(data: bytes, place, limit=1 << 30, links="refuse") -> UnpackTree:
    opened = os.open(place, os.O_RDONLY)
    tree = UnpackTree(opened, limit, links)
    try:
        unpack(io.BytesIO(data), tree)
    finally:
        os.close(opened)
    return tree


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_comes_out_whatever_its_compression(tmp_path, compression, kind):
    source = fill(tmp_path / "source", big=300_000)
    (source / "run").write_text("x")
    (source / "run").chmod(0o755)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        tar.add(source, ".")
    (tmp_path / "place").mkdir()
    tree = unpacked(COMPRESSIONS[compression](out.getvalue()), tmp_path / "place")
    assert snapshot(tmp_path / "place") == snapshot(source)
    assert (tree.dotted, tree.files) == (True, 11)


def test_a_zip_comes_out(place):
    linked, tool = zipfile.ZipInfo("link"), zipfile.ZipInfo("bin/tool", (2020, 2, 3, 4, 5, 6))
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16
    tool.external_attr = (stat.S_IFREG | 0o755) << 16
    unpacked(zip_of((tool, b"#!"), ("empty/", b""), (linked, b"bin/tool"), ("\u00fc", b"name")), place)
    assert snapshot(place) == {
        b"bin": ("folder",),
        b"bin/tool": ("file", True, b"#!"),
        b"empty": ("folder",),
        b"link": ("link", b"bin/tool"),
        "\u00fc".encode(): ("file", False, b"name"),
    }
    assert (place / "bin" / "tool").stat().st_mtime == 1580702706


def test_long_and_odd_names_and_sparse_files_come_out(place, tmp_path):
    odd = os.fsdecode(b"odd-\xff")
    data = tar_of(file("a" * 200 + "/" + "b" * 250), file(odd), kind=tarfile.PAX_FORMAT)
    unpacked(data, place)
    assert (place / odd).read_bytes() == b"x"
    assert (place / ("a" * 200) / ("b" * 250)).read_bytes() == b"x"


def test_the_last_member_of_a_name_counts_and_hard_links_are_files(place):
    data = tar_of(
        file("a", b"first"),
        file("a", b"second"),
        member("b", tarfile.LNKTYPE, "./a"),
        link("l", "a"),
        member("m", tarfile.LNKTYPE, "l"),
        file("deep/er/c"),
        link("c", "a"),
        file("c", b"not a link"),
    )
    tree = unpacked(data, place)
    found = snapshot(place)
    assert found[b"a"] == found[b"b"] == ("file", False, b"second")
    assert found[b"l"] == found[b"m"] == ("link", b"a")
    assert found[b"c"] == ("file", False, b"not a link")
    assert tree.files == 4


HOSTILE = {
    "absolute": tar_of(file("/etc/passwd")),
    "parent": tar_of(file("../out")),
    "parent inside": tar_of(file("a/../../out")),
    "link outside": tar_of(link("l", "/etc/passwd")),
    "link above": tar_of(link("a/l", "../../out")),
    "link after a name": tar_of(link("l", "a/../../out")),
    "through a link": tar_of(link("l", "."), file("l/x")),
    "folder over a link": tar_of(link("l", "."), member("l", tarfile.DIRTYPE)),
    "hard link outside": tar_of(member("h", tarfile.LNKTYPE, "../out")),
    "hard link to nothing": tar_of(member("h", tarfile.LNKTYPE, "nothing")),
    "hard link to a folder": tar_of(member("d", tarfile.DIRTYPE), member("h", tarfile.LNKTYPE, "d")),
    "device": tar_of(member("sda", tarfile.BLKTYPE)),
    "character device": tar_of(member("null", tarfile.CHRTYPE)),
    "fifo": tar_of(member("pipe", tarfile.FIFOTYPE)),
    "folder over a file": tar_of(file("a"), file("a/b")),
    "file over a folder": tar_of(file("a/b"), file("a")),
    "the folder itself": tar_of(file(".")),
    "zip parent": zip_of(("../out", b"x")),
    "zip absolute": zip_of(("/out", b"x")),
    "a long path": tar_of(file("a/" * 20_000 + "b"), kind=tarfile.PAX_FORMAT),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_leads_outside_or_is_no_file_is_refused(name, place):
    with pytest.raises(RefusedError):
        unpacked(HOSTILE[name], place)


def test_links_that_lead_outside_are_left_out_or_made_where_asked(place):
    data = tar_of(file("a"), link("l", "/etc/passwd"))
    assert unpacked(data, place, links="skip").skipped == ["l -> /etc/passwd"]
    assert list(snapshot(place)) == [b"a"]
    unpacked(data, place, links="allow")
    assert snapshot(place)[b"l"] == ("link", b"/etc/passwd")


def test_a_member_is_never_written_through_an_allowed_link(place):
    with pytest.raises(RefusedError):
        unpacked(tar_of(link("l", ".."), file("l/out")), place, links="allow")


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_is_stopped_at_its_limit(place, compression):
    data = COMPRESSIONS[compression](tar_of(file("zeros", bytes(50_000_000))))
    with pytest.raises(RefusedError, match="--max-size"):
        unpacked(data, place, limit=10_000_000)
    assert (place / "zeros").stat().st_size <= 10_000_000


def test_a_zip_bomb_and_a_sparse_bomb_are_stopped(place):
    with pytest.raises(RefusedError, match="--max-size"):
        unpacked(zip_of(("zeros", bytes(50_000_000))), place, limit=10_000_000)
    sparse = member("sparse", size=0, pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})
    sparse.pax_headers |= {"GNU.sparse.name": "sparse", "GNU.sparse.realsize": str(1 << 50)}
    with pytest.raises(RefusedError, match="--max-size"):
        unpacked(tar_of((sparse, b"0\n".ljust(512, b"\0")), kind=tarfile.PAX_FORMAT), place, limit=10_000_000)


def test_a_huge_header_is_not_read_into_memory(place):
    header = member("x", tarfile.XHDTYPE, size=1 << 40)
    data = header.tobuf(tarfile.GNU_FORMAT) + bytes(40_000_000)
    with pytest.raises(RefusedError, match="header"):
        unpacked(gzip.compress(data, 1), place)


def test_headers_that_announce_each_other_without_end_are_damage(place):
    header = member("x", tarfile.XHDTYPE, size=10).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(CorruptError):
        unpacked((header + b"10 path=x\n".ljust(512, b"\0")) * 3000, place)


@pytest.mark.parametrize("cut", [600, 10_000, 20_480, 40_000])
@pytest.mark.parametrize("compression", ["none", "gzip", "bzip2", "xz", "zstd"])
def test_a_tar_that_was_cut_short_is_damaged(place, cut, compression):
    data = tar_of(*(file(f"{number}", os.urandom(5632)) for number in range(10)))
    if compression == "none":
        short = data[: cut - cut % 512]  # between two blocks, where the library would see the end
    else:
        packed = COMPRESSIONS[compression](data)
        short = packed[: min(cut, len(packed) - 10_000)]
    with pytest.raises(CorruptError, match=r"cut short|damaged|ends early|no end|neither|empty"):
        unpacked(short, place)


def test_a_damaged_header_is_not_taken_for_the_end(place):
    data = bytearray(tar_of(*(file(f"{number}") for number in range(4))))
    data[1024 * 2 + 5] ^= 1
    with pytest.raises(CorruptError, match="damaged"):
        unpacked(bytes(data), place)


@pytest.mark.parametrize("data", [b"", b"hello", os.urandom(5000), b"PK\x03\x04" + bytes(100), b"\x1f\x8b" + bytes(50)])
def test_what_is_no_archive_is_said_to_be_none(data, place):
    with pytest.raises(CorruptError):
        unpacked(data, place)


def test_an_empty_tar_and_an_empty_zip_are_empty_folders(place):
    assert unpacked(tar_of(), place).members == 0
    assert unpacked(zip_of(), place).members == 0


def test_an_encrypted_zip_and_one_of_unknown_compression_are_refused(place):
    for offset, value in ((8, 1), (10, 14)):
        data = bytearray(zip_of(("a", b"x" * 100)))
        central = data.index(b"PK\x01\x02")
        struct.pack_into("<H", data, central + offset, value)
        with pytest.raises(RefusedError):
            unpacked(bytes(data), place)


def test_a_member_that_only_calls_itself_bzip2_is_damaged(place):
    data = bytearray(zip_of(("a", b"hello" * 100)))
    for header, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(header) + offset, zipfile.ZIP_BZIP2)
    with pytest.raises(CorruptError, match="its zip is damaged: Invalid data stream"):
        unpacked(bytes(data), place)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 255), st.sampled_from(["none", "gzip", "zip"]))
def test_a_flipped_byte_is_noticed_or_harmless(tmp_path_factory, where, value, kind):
    """Whatever happens to an archive: our own errors, or a folder."""
    content = (("a", b"hello" * 100), ("b/c", b"world" * 100))
    data = zip_of(*content) if kind == "zip" else COMPRESSIONS[kind](tar_of(*(file(*one) for one in content)))
    torn = bytearray(data)
    torn[where % len(torn)] = value
    folder = tmp_path_factory.mktemp("flipped")
    with contextlib.suppress(CorruptError):
        unpacked(bytes(torn), folder)
