"""A reader that knows docs/format.md and nothing of studio_cas brings back what studio_cas captured, to the byte."""

from __future__ import annotations

import ast
import json
import os
import random
import sqlite3
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.formats import stranger

from studio_cas.chunking.parameters import ChunkingParameters
from studio_cas.formats import keys, store_config, version
from studio_cas.formats import root as roots
from studio_cas.formats.leaf import CONTINUATION, PROFILE_SHIFT
from studio_cas.store.signing import make_key
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.worktree.capture import capture

SMALL = ChunkingParameters(minimum=256, average=1024, maximum=4096, fixed=512, tensor=0)


@pytest.fixture
def store(tmp_path, home):
    with open_store(tmp_path / "store", home=home) as opened:
        yield opened


@pytest.fixture
def fine_store(tmp_path, home):
    """A store that cuts so fine that a file of 3 MB has thousands of chunks."""
    folder = tmp_path / "store"
    folder.mkdir()
    folder.joinpath("format.json").write_bytes(store_config.encode(store_config.StoreConfig("fe" * 16, SMALL)))
    with open_store(folder, home=home) as opened:
        yield opened


def described(root: Path) -> dict[str, object]:
    """All that an artifact keeps of a folder, or of a file."""
    if root.is_file():
        return {"": (root.read_bytes(), root.stat().st_mtime_ns)}
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(root))] = (str(path.readlink()), status.st_mtime_ns)
        elif path.is_dir():
            found[str(path.relative_to(root))] = "folder"
        else:
            executable = bool(status.st_mode & stat.S_IXUSR)
            found[str(path.relative_to(root))] = (path.read_bytes(), executable, status.st_mtime_ns)
    return found


def settle(root: Path) -> None:
    """Make everything look old, so that nothing of it seems to be being written."""
    for number, path in enumerate(sorted(root.rglob("*"))):
        moment = 10**18 + number * 1_000_000_007
        os.utime(path, ns=(moment, moment), follow_symlinks=False)


def check(store, source: Path, dest: Path) -> TreeReader:
    """Capture `source`, let the stranger restore it to `dest`, and compare."""
    version = capture(store, source, "exp", "tag").version
    assert stranger.main(store.url, f"exp/tag@{version.number}", dest) == version.manifest_id.hex()
    assert described(dest) == described(source)
    return TreeReader(store, version)


def codecs(tree: TreeReader) -> dict[bytes, set[int]]:
    """The codecs of the chunks of each path."""
    found: dict[bytes, set[int]] = {}
    for _, leaf in tree.leaves():
        for path, part in zip(leaf.paths, leaf.chunk_slices(), strict=True):
            found.setdefault(path, set()).update(place.codec for place in leaf.places[part])
    return found


def profiles(tree: TreeReader) -> dict[bytes, int]:
    return {
        path: attribute >> PROFILE_SHIFT
        for _, leaf in tree.leaves()
        for path, attribute in zip(leaf.paths, leaf.attributes, strict=True)
    }


def safetensors(*tensors: bytes) -> bytes:
    offsets, at = {}, 0
    for number, tensor in enumerate(tensors):
        offsets[f"layer.{number}"] = {
            "dtype": "F32",
            "shape": [len(tensor) // 4],
            "data_offsets": [at, at + len(tensor)],
        }
        at += len(tensor)
    header = json.dumps({"__metadata__": {"format": "pt"}, **offsets}).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(tensors)


def weights(kind: str, count: int, seed: int = 0) -> bytes:
    """Normally distributed numbers; bf16 is the upper half of fp32."""
    values = np.random.default_rng(seed).normal(0, 0.02, count)
    if kind == "bf16":
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return values.astype(kind).tobytes()


def lines(count: int, seed: int = 0) -> bytes:
    numbers = random.Random(seed)
    return b"".join(b"step %d loss %.6f lr %.3e\n" % (n, numbers.random(), numbers.random()) for n in range(count))


def fill(root: Path) -> None:
    """Something of everything that has a way of its own through the store."""
    (root / "empty folder" / "inside").mkdir(parents=True)
    (root / "empty").touch()
    (root / "inline.txt").write_bytes(b"a few bytes\n")
    (root / "text.md").write_bytes(lines(4000))
    (root / "run.sh").write_bytes(b"#!/bin/sh\n" * 500)
    (root / "run.sh").chmod(0o755)
    (root / "small.bin").write_bytes(random.Random(1).randbytes(20_000))
    (root / "twin.bin").write_bytes(random.Random(1).randbytes(20_000))
    many = root / "many"
    many.mkdir()
    for number in range(60):
        (many / f"{number}.txt").write_bytes(lines(60, number))
    (root / "fp32.bin").write_bytes(b"123" + weights("<f4", 200_001) + b"z")
    (root / "bf16.bin").write_bytes(weights("bf16", 300_000) + b"odd")
    (root / "fp16.bin").write_bytes(weights("<f2", 300_000))
    (root / "fp64.bin").write_bytes(b"head!" + weights("<f8", 150_000) + b"tail")
    (root / "noise.bin").write_bytes(random.Random(2).randbytes(700_001))
    (root / "zeros.bin").write_bytes(bytes(3_000_000))
    tensors = weights("<f4", 70_000), weights("<f4", 100), weights("<f4", 90_000, 1)
    (root / "model.SafeTensors").write_bytes(safetensors(*tensors))
    with zipfile.ZipFile(root / "model.pt", "w") as archive:
        archive.writestr("data/0", tensors[0])
        archive.writestr("data/1", tensors[2])
        archive.writestr("code.py", lines(3000), zipfile.ZIP_DEFLATED)
    database = sqlite3.connect(root / "runs.db")
    database.execute("CREATE TABLE runs (name TEXT)")
    database.executemany("INSERT INTO runs VALUES (?)", ((f"run {number}" * 9,) for number in range(3000)))
    database.commit()
    database.close()
    (root / "train.log").write_bytes(lines(20_000))
    (root / "link").symlink_to("text.md")
    (root / "dangling").symlink_to("no/such/thing")
    odd = os.fsencode(root) + b"/\xff\xfe not utf-8\n"
    Path(os.fsdecode(odd)).write_bytes(b"x" * 2000)
    (root / "many-").write_bytes(b"sorts between a folder and what follows it")


def test_it_uses_nothing_of_studio_cas_and_is_short():
    text = Path(stranger.__file__).read_text()
    assert len(text.splitlines()) < 150
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes for alias in node.names} | {getattr(node, "module", None) for node in nodes}
    assert not any(name and name.startswith("studio") for name in names)


def test_it_restores_a_folder_of_everything(store, work, tmp_path):
    fill(work)
    settle(work)
    tree = check(store, work, tmp_path / "restored")
    found = codecs(tree)
    assert all(found[name] == {2} for name in (b"fp32.bin", b"bf16.bin", b"fp16.bin", b"fp64.bin"))
    assert found[b"text.md"] == {1}
    assert found[b"noise.bin"] == {0}
    assert {b"model.SafeTensors", b"model.pt"} == {name for name, profile in profiles(tree).items() if profile == 2}
    assert (profiles(tree)[b"runs.db"], profiles(tree)[b"train.log"]) == (1, 3)


def test_it_restores_an_empty_folder_and_single_files(store, work, tmp_path):
    check(store, work, tmp_path / "nothing")
    for name, data in (("empty", b""), ("inline", b"inline"), ("chunk", lines(500)), ("chunks", lines(50_000))):
        tmp_path.joinpath(name).write_bytes(data)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
        folder = tmp_path / f"restored {name}"
        folder.mkdir()
        check(store, tmp_path / name, folder / name)


def test_it_restores_files_in_parts_and_trees_of_many_leaves(fine_store, work, tmp_path):
    (work / "long.bin").write_bytes(random.Random(3).randbytes(16_000_000))
    (work / "long.log").write_bytes(lines(40_000))
    folder = work / "many"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number:05}").write_bytes(b"%d" % number)
    settle(work)
    tree = check(fine_store, work, tmp_path / "restored")
    assert len(tree.root.leaves) > 3
    assert all(row.place for row in tree.root.leaves)
    parts = [attribute for _, leaf in tree.leaves() for attribute in leaf.attributes if attribute & CONTINUATION]
    assert len(parts) >= 2


def test_it_restores_a_root_that_lies_in_a_tree_pack(store, work, tmp_path, monkeypatch):
    monkeypatch.setattr(roots, "INLINE_LIMIT", 50)
    (work / "a").write_bytes(lines(500))
    settle(work)
    check(store, work, tmp_path / "restored")
    assert "pack" in json.loads(next(Path(store.url).glob("versions/*/*/*")).read_bytes())["tree"]


def test_it_restores_versions_that_share_data_and_finds_the_latest(store, work, tmp_path):
    for number in range(1, 4):
        (work / "train.log").write_bytes(lines(20_000 + 1000 * number))
        (work / f"{number}.bin").write_bytes(weights("<f4", 100_000, number))
        settle(work)
        check(store, work, tmp_path / str(number))
    stranger.main(store.url, "exp/tag", tmp_path / "latest")
    assert described(tmp_path / "latest") == described(tmp_path / "3")
    stranger.main(store.url, "exp/tag@2", tmp_path / "again")
    assert described(tmp_path / "again") == described(tmp_path / "2")
    newest = Path(store.url, keys.version("exp", "tag", 3))
    newest.unlink()
    newest.write_bytes(version.removal_mark(3, "ann", 1.8e9))
    stranger.main(store.url, "exp/tag", tmp_path / "before")
    assert described(tmp_path / "before") == described(tmp_path / "2")


def test_it_restores_signed_versions(store, work, tmp_path, home):
    key = make_key(home).key
    (work / "text.md").write_bytes(lines(4000))
    settle(work)
    check(store, work, tmp_path / "restored")
    assert json.loads(next(Path(store.url).glob("versions/*/*/*")).read_bytes())["signed"]["key"] == key


def test_it_is_a_program(store, work, tmp_path):
    (work / "a").write_bytes(b"a")
    version = capture(store, work, "exp", "tag").version
    command = [sys.executable, "-P", stranger.__file__, store.url, "exp/tag", str(tmp_path / "dest")]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert finished.stdout == f"{version.manifest_id}\n"
    assert (tmp_path / "dest" / "a").read_bytes() == b"a"


@pytest.mark.parametrize("name", ["noise.bin", "fp32.bin", "text.md"])
def test_it_restores_no_damaged_chunk(store, work, tmp_path, name):
    (work / name).write_bytes(
        {"n": random.Random(4).randbytes, "f": lambda n: weights("<f4", n // 4), "t": lines}[name[0]](99_000)
    )
    settle(work)
    version = capture(store, work, "exp", "tag").version
    (place, *_) = TreeReader(store, version).leaf(0).places
    pack = Path(store.url, "packs", place.pack.hex()[:2], place.pack.hex())
    data = bytearray(pack.read_bytes())
    data[place.offset + place.stored // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with pytest.raises((ValueError, stranger.zstandard.ZstdError)):
        stranger.main(store.url, "exp/tag", tmp_path / "dest")
