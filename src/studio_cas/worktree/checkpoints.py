"""The newest complete checkpoint in a folder, whatever wrote it.

A folder is a checkpoint where it has a mark that its writer leaves last, or that lists its parts:

    trainer_state.json           Hugging Face Trainer, checkpoint-N
    .metadata                    torch.distributed.checkpoint (beside it *.distcp)
    *.index.json                 sharded weights: safetensors, pytorch_model.bin

Otherwise each file with the name of a checkpoint is one: .pt, .safetensors, .keras, .h5 and so on; and only where there
is none of these, any other file but databases. A file is complete where nobody writes it, and its format, where that
knows its own length, says so. What is complete is ordered by the time of its last write.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.worktree import completeness, steady

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRAINER_STATE, DCP_METADATA = "trainer_state.json", ".metadata"
INDEX_SUFFIX, DCP_SUFFIX = ".index.json", ".distcp"
SUFFIXES = (
    ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".keras", ".h5", ".hdf5", ".npz", ".npy", ".pkl", ".pickle", ".pck",
    ".joblib", ".msgpack", ".gguf", ".onnx",
)  # fmt: skip
UNFINISHED = (".tmp", ".part", ".partial", ".lock", "~")
DATABASES = (".db", ".db3", ".sqlite", ".sqlite3", "-wal", "-shm", "-journal", ".mdb")
"""Never opened: closing any descriptor of a file drops the locks that this process has on it (fcntl(2))."""
PASSED_OVER = UNFINISHED + DATABASES
DEPTH = 8  # folders below the one that is asked for
_HUGGING_FACE = re.compile(r"checkpoint-\d+")
_NUMBER = re.compile(r"\d+")


class Checkpoint(NamedTuple):
    """A file or a folder that may be a checkpoint. `named`: by its name it is one; `written`: ns since the epoch."""

    path: Path
    mark: Path
    named: bool
    written: int

    @property
    def age(self) -> tuple[bool, int, tuple[int, ...]]:
        """What newer ones have more of; numbers in the name decide between equal times."""
        return self.named, self.written, tuple(map(int, _NUMBER.findall(self.path.name)))


def newest_checkpoint(root: Path) -> Path | None:
    """The newest complete checkpoint at or below `root`; None where there is none."""
    found = sorted(_candidates(root, DEPTH), key=lambda candidate: candidate.age, reverse=True)
    named = any(candidate.named for candidate in found)
    for candidate in found:
        if candidate.named == named and _is_complete(candidate):
            return candidate.path
    return None


def _candidates(path: Path, depth: int) -> Iterator[Checkpoint]:
    try:
        status = path.stat()
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        if status.st_size and not path.name.startswith(".") and not path.name.lower().endswith(PASSED_OVER):
            yield Checkpoint(path, path, path.name.lower().endswith(SUFFIXES), status.st_mtime_ns)
        return
    if not stat.S_ISDIR(status.st_mode):
        return
    names = _names(path)
    mark = _mark(path, names)
    if mark is not None:
        with suppress(OSError):  # it is not written yet, or is being removed
            yield Checkpoint(path, mark, named=True, written=mark.stat().st_mtime_ns)
        return
    if depth and (depth == DEPTH or not path.is_symlink()):
        for name in names:
            yield from _candidates(path / name, depth - 1)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  # names are enough
    except OSError:
        return []


def _mark(folder: Path, names: list[str]) -> Path | None:
    """The file that makes the folder a checkpoint, whether it is there yet or not; None for a folder like any other."""
    if TRAINER_STATE in names or _HUGGING_FACE.fullmatch(folder.name):
        return folder / TRAINER_STATE
    if DCP_METADATA in names or any(name.endswith(DCP_SUFFIX) for name in names):
        return folder / DCP_METADATA
    for name in names:
        if name.endswith(INDEX_SUFFIX):
            return folder / name
    return None


def _is_complete(candidate: Checkpoint) -> bool:
    if candidate.path == candidate.mark:
        return _is_whole(candidate.path)
    parts = _parts(candidate)
    return parts is not None and all(map(_is_whole, parts))


def _parts(candidate: Checkpoint) -> list[Path] | None:
    """The files that have to be whole; None where the mark says that one is missing, or nothing."""
    folder, mark = candidate.path, candidate.mark
    inside = [folder / name for name in _names(folder) if not name.lower().endswith(PASSED_OVER)]
    files = [path for path in inside if path.is_file()]
    if mark.name == DCP_METADATA:
        return files
    try:
        text = json.loads(mark.read_bytes())
        indexes = [path for path in files if path.name.endswith(INDEX_SUFFIX)]
        weights = [json.loads(index.read_bytes())["weight_map"].values() for index in indexes]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # half written
    listed = {folder / str(name) for names in weights for name in names}
    return [*files, *listed] if isinstance(text, dict) else None


def _is_whole(path: Path) -> bool:
    """Whether nobody writes the file, and its format does not say that something is missing."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        size = os.fstat(file).st_size
        if completeness.probe(os.fsencode(path.name), size, lambda at, length: os.pread(file, length, at)) is False:
            return False
        if 0 < _wait(file, path) <= steady.TICK_NS:  # it was written just now, perhaps by who asks
            time.sleep(steady.TICK_NS * 1.5e-9)
        return _wait(file, path) == 0
    except OSError:
        return False
    finally:
        os.close(file)


def _wait(file: int, path: Path) -> int:
    started_ns = time.time_ns()
    return steady.wait_after(file, os.fsencode(path.name), steady.times(os.fstat(file)), started_ns)
