"""Equal trees have equal ids for ever, and a store that was written once is read for ever."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.formats import stranger
from tests.golden import expect_json, may_make, noise

from studio_cas.backends.memory import MemoryBackend
from studio_cas.chunking.parameters import DEFAULT, ChunkingParameters
from studio_cas.chunking.profile import Profile
from studio_cas.formats import keys, store_config
from studio_cas.formats.leaf import EntryKind, Place
from studio_cas.ids import PackId
from studio_cas.store.chunks import Chunks
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise
from studio_cas.worktree.scan import Row
from studio_cas.worktree.tree_writer import Item, TreeWriter

GOLDEN = Path(__file__).parent / "golden"
STORE = GOLDEN / "store"
SMALL = ChunkingParameters(minimum=256, average=1024, maximum=4096, fixed=512, tensor=0)
PARAMETERS = {"default": DEFAULT, "small": SMALL}
READ_SIZE = 8 * 1024 * 1024


def floats(seed: str, count: int) -> bytes:
    """fp32 near 1/64: any sign and fraction."""
    raw = np.frombuffer(noise(seed, 4 * count), "<u4")
    return (raw & 0x807FFFFF | 0x3C800000).astype("<u4").tobytes()


def log(count: int) -> bytes:
    return b"".join(b"step %d loss 0.%04d\n" % (step, step * step % 9973) for step in range(count))


def settle(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)


def few(root: Path) -> None:
    """A little of everything; small enough to keep a store of it."""
    (root / "empty folder").mkdir(parents=True)
    (root / "folder").mkdir()
    (root / "folder" / "empty").touch()
    (root / "folder" / "inline").write_bytes(b"inline")
    (root / "folder-").write_bytes(noise("folder-", 1024))
    (root / "link").symlink_to("folder/inline")
    (root / "run.sh").write_bytes(b"#!/bin/sh\n" * 200)
    (root / "run.sh").chmod(0o700)
    Path(os.fsdecode(os.fsencode(root) + b"/not utf-8 \xff\n")).write_bytes(noise("odd name", 1025))
    (root / "weights.bin").write_bytes(b"head" + floats("weights", 5000) + b"x")
    (root / "train.log").write_bytes(log(500))
    (root / "runs.db").write_bytes(b"SQLite format 3\0" + noise("database", 3000))
    header = b'{"a": {"data_offsets": [0, 4000]}, "b": {"data_offsets": [4000, 5200]}}'
    (root / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + floats("model", 1300))


def many(root: Path) -> None:
    """Files in parts, leaves that are cut by their paths, and a file that is read in several turns."""
    (root / "parts.bin").write_bytes(noise("parts", 6_000_000))
    (root / "zeros").write_bytes(bytes(READ_SIZE + 1))
    (root / "large.log").write_bytes(log(500_000))
    for number in (*range(3000), 14851):  # a leaf ends after 14851.txt, by its CRC-32
        (root / f"{number}.txt").write_bytes(b"%d" % number)


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
@pytest.mark.parametrize("fill", [few, many])
def test_the_ids_of_a_tree_are_what_they_always_were(kind, fill, home, work):
    fill(work)
    settle(work)
    backend = MemoryBackend()
    backend.create(keys.FORMAT, [store_config.encode(store_config.StoreConfig("00" * 16, PARAMETERS[kind]))])
    with open_store(backend, home=home) as store:
        version = capture(store, work, "exp", "tag").version
        root = TreeReader(store, version).root
    rows = [[row.leaf_id.hex(), row.entries, row.size, os.fsdecode(row.first_path)] for row in root.leaves]
    expect_json(GOLDEN / f"{fill.__name__}, {kind}.json", {"manifest": version.manifest_id.hex(), "leaves": rows})


class Nowhere:
    """An ingest whose tree packs keep nothing, and the state of nothing."""

    def __init__(self) -> None:
        self.trees = self

    def flush(self) -> None:
        pass

    def add(self, *arguments: object) -> list[Place] | None:
        return [Place(PackId(bytes(16)), 16, 1, 1, 0, 1)] if len(arguments) == 3 else None


@pytest.mark.parametrize(
    ("entries", "chunks", "literal", "leaves"),
    [
        (20_000, 0, b"", [16_384, 3616]),
        (5000, 0, bytes(1024), [4096, 904]),
        (100, 200, b"", [82, 18]),
        (2, 1024, b"", [2]),
        (2, 1025, b"", [1, 2, 1]),
        (1, 8193, b"", [1, 1]),
    ],
)
def test_leaves_and_parts_end_where_they_always_did(entries, chunks, literal, leaves, monkeypatch):
    monkeypatch.setattr(zlib, "crc32", lambda _: 0)  # no path ends a leaf
    parts = Chunks()
    parts.ids = [b"\xff" * 32 if index == 1023 else bytes(32) for index in range(chunks)]
    parts.lengths = [1] * chunks
    parts.places = [Place(PackId(bytes(16)), 16, 1, 1, 0, 0)] * chunks
    nowhere = Nowhere()
    writer = TreeWriter(nowhere, nowhere, lambda _: None)
    for number in range(entries):
        path = b"%06d" % number
        writer.add(Item(path, EntryKind.FILE, Profile.CDC, chunks, 0, literal, parts if chunks else None, Row(path, 1)))
    assert [row.entries for row in writer.finish(is_file=False).leaves] == leaves


def changed(root: Path) -> None:
    """What the second version has."""
    shutil.rmtree(root / "folder")
    (root / "train.log").write_bytes(log(600))
    (root / "new.bin").write_bytes(floats("new", 3000))
    settle(root)


def make_store(work: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="host"))
    STORE.mkdir()
    config = store_config.StoreConfig("901de5" + "0" * 26, SMALL)
    (STORE / "format.json").write_bytes(store_config.encode(config))
    few(work)
    settle(work)
    with open_store(STORE, home=home) as store:
        capture(store, work / "weights.bin", "exp", "weights", user="ann")
        capture(store, work, "exp", "all", user="ann")
        changed(work)
        capture(store, work, "exp", "all", user="ann", final=True)


def told(root: Path) -> dict[str, str]:
    """What a folder or file holds, in few words."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        if path.is_symlink():
            what = f"-> {path.readlink()}"
        elif path.is_dir():
            what = "folder"
        else:
            executable = " executable" if os.access(path, os.X_OK) and path.stat().st_mode & 0o100 else ""
            what = hashlib.sha256(path.read_bytes()).hexdigest() + executable
        found[ascii(str(path.relative_to(root)))] = what
    return found


@pytest.mark.own_store
def test_the_golden_store_is_read_by_us_and_by_a_stranger(home, work, out, monkeypatch):
    if may_make(STORE):
        make_store(work, home, monkeypatch)
    found = {}
    with open_store(STORE, home=home, create=False) as store:
        for number, name in enumerate(("exp/all@1", "exp/all@2", "exp/weights@1")):
            version = resolve(store, name)
            materialise(store, version, out / f"ours {number}")
            assert stranger.main(STORE, name, out / f"stranger {number}") == version.manifest_id.hex()
            found[name] = {"manifest": version.manifest_id.hex(), **told(out / f"ours {number}")}
            assert told(out / f"stranger {number}") == told(out / f"ours {number}")
    expect_json(GOLDEN / "store.json", found)


@pytest.mark.own_store
def test_what_is_captured_now_continues_the_golden_store(home, work, tmp_path):
    shutil.copytree(STORE, tmp_path / "store")
    few(work)
    changed(work)
    with open_store(tmp_path / "store", home=home) as store:
        assert not capture(store, work, "exp", "all").created
        (work / "one more").write_bytes(b"one more")
        assert capture(store, work, "exp", "all").version.number == 3
