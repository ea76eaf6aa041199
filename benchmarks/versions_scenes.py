"""Folders that change from minute to minute: what each of 500 versions changes. `size` is that of the folder, about."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from datasets import MIB, SEED, grow_log, log, weights, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITES = 8
KEPT = 5
ROWS = 50
BLOB = 900


def logs_begin(folder: Path, size: int) -> None:
    """A log of `size` bytes, and 40 small text files."""
    log(folder / "train.log", size)
    for index in range(40):
        (folder / f"config_{index:02}.yaml").write_bytes(b"".join(b"key_%d: %d\n" % (n, n * index) for n in range(300)))


def logs_step(folder: Path, size: int, number: int) -> None:
    """The log grows by 1/50 of what it was, and two text files change."""
    grow_log(folder / "train.log", max(200, size // 50))
    for index in (0, number % 40):
        with (folder / f"config_{index:02}.yaml").open("ab") as file:
            file.write(b"step: %d\n" % number)


def weights_begin(folder: Path, size: int) -> None:
    """One safetensors file."""
    write_safetensors(folder / "model.safetensors", np.random.default_rng([SEED, 700]), size)


def weights_step(folder: Path, size: int, number: int) -> None:
    """1 % of it is overwritten in place, at WRITES places."""
    rng = np.random.default_rng([SEED, 701, number])
    length = size // 100 // WRITES
    with (folder / "model.safetensors").open("r+b") as file:
        for start in rng.integers(4096 // 4, (size - length) // 4, WRITES):
            file.seek(int(start) * 4)
            file.write(weights(rng, length // 4).view(np.uint8).data)


def checkpoints_begin(folder: Path, size: int) -> None:
    """KEPT checkpoints, `size` bytes together."""
    for number in range(-KEPT, 0):
        _checkpoint(folder, size, number)


def checkpoints_step(folder: Path, size: int, number: int) -> None:
    """The newest is added, the oldest deleted."""
    _checkpoint(folder, size, number)
    (folder / f"step_{number - KEPT:+04}.safetensors").unlink()


def _checkpoint(folder: Path, size: int, number: int) -> None:
    path = folder / f"step_{number:+04}.safetensors"
    write_safetensors(path, np.random.default_rng([SEED, 702, number + KEPT]), size // KEPT)


def database_begin(folder: Path, size: int) -> None:
    """A SQLite file, as metrics and trackers keep them."""
    with closing(sqlite3.connect(folder / "metrics.db")) as base:
        base.execute("CREATE TABLE samples (id INTEGER PRIMARY KEY, step INTEGER, value BLOB)")
        rng = np.random.default_rng([SEED, 703])
        base.executemany(
            "INSERT INTO samples (step, value) VALUES (0, ?)", ((rng.bytes(BLOB),) for _ in range(size >> 10))
        )
        base.commit()


def database_step(folder: Path, size: int, number: int) -> None:
    """ROWS rows are updated in place, ROWS are added."""
    rng = np.random.default_rng([SEED, 704, number])
    with closing(sqlite3.connect(folder / "metrics.db")) as base:
        for row in rng.integers(1, size >> 10, ROWS):
            base.execute("UPDATE samples SET step = ?, value = ? WHERE id = ?", (number, rng.bytes(BLOB), int(row)))
        base.executemany(
            "INSERT INTO samples (step, value) VALUES (?, ?)", ((number, rng.bytes(BLOB)) for _ in range(ROWS))
        )
        base.commit()


Scene = tuple["Callable[[Path, int], None]", "Callable[[Path, int, int], None]", float]
SCENES: dict[str, Scene] = {
    "log and text": (logs_begin, logs_step, 1 / 200),
    "weights": (weights_begin, weights_step, 1.0),
    "rotating checkpoints": (checkpoints_begin, checkpoints_step, 1 / 20),
    "database": (database_begin, database_step, 1 / 10),
}
"""How each begins, how it goes on, and its size beside that of the weights."""

__all__ = ["MIB", "SCENES"]
