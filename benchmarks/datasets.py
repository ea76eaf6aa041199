"""Deterministic synthetic data: what people who train models keep in folders.

Every generator takes a seed, so that two machines measure the same bytes. The text is calibrated against Python's own
standard library (958 files of 1-20 KiB: zstd level 1 shrinks it 3.0 times file by file and 3.4 times in blocks of
256 KiB); `python benchmarks/datasets.py text FOLDER 1000` writes some, and `... calibrate FOLDER` measures it.

The scripts run this file as a child process: the peak memory of a child counts what its parent held when it was
started, so the process that measures must stay small.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

MIB = 1 << 20
SEED = 20261122

# --- checkpoints ----------------------------------------------------------------------------------------------------


def weights(rng: np.random.Generator, count: int) -> Floats:
    """Return `count` float32 values drawn like freshly initialised or trained weights: normal, std 0.02."""
    values = rng.standard_normal(count, dtype=np.float32)
    values *= np.float32(0.02)
    return values


def to_bf16(values: Floats) -> npt.NDArray[np.uint16]:
    """Round float32 to bfloat16, as uint16."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def tensor_shapes(total: int, itemsize: int) -> list[tuple[str, int]]:
    """Split `total` bytes into named tensors: a few large matrices and, beside each, a small bias."""
    elements = total // itemsize
    small = min(1024, max(1, elements // 64))
    large = (elements - 8 * small) // 8
    return [(f"layer.{i}.{kind}", count) for i in range(8) for kind, count in (("weight", large), ("bias", small))]


def write_safetensors(path: Path, rng: np.random.Generator, total: int, *, bf16: bool = False) -> None:
    """Write a file in the safetensors format: header length, JSON header, tensors back to back."""
    itemsize = 2 if bf16 else 4
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    shapes = tensor_shapes(total, itemsize)
    for name, count in shapes:
        end = offset + count * itemsize
        header[name] = {"dtype": "BF16" if bf16 else "F32", "shape": [count], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, count in shapes:
            values = weights(rng, count)
            file.write((to_bf16(values) if bf16 else values).view(np.uint8).data)


def write_zip_checkpoint(path: Path, rng: np.random.Generator, total: int) -> None:
    """Write a file laid out as torch.save does: an uncompressed zip, a pickle, one member a tensor at 64 bytes."""
    shapes = tensor_shapes(total, 4)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickle.dumps(dict(shapes), protocol=2))
        for index, (_, count) in enumerate(shapes):
            member = zipfile.ZipInfo(f"archive/data/{index}")
            start = archive.fp.tell() + 30 + len(member.filename)  # type: ignore[union-attr]
            padding = -(start + 4) % 64
            member.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            archive.writestr(member, weights(rng, count).view(np.uint8).data)
        archive.writestr(zipfile.ZipInfo("archive/version"), b"3\n")


def checkpoints(folder: Path, total: int) -> None:
    """Write 8 fresh float32 checkpoints of `total` bytes together, half safetensors, half as torch.save writes them."""
    for index in range(8):
        rng = np.random.default_rng([SEED, index])
        if index % 2:
            write_zip_checkpoint(folder / f"epoch_{index:02}.pt", rng, total // 8)
        else:
            write_safetensors(folder / f"epoch_{index:02}.safetensors", rng, total // 8)


def checkpoints_bf16(folder: Path, total: int) -> None:
    """Write 8 fresh bfloat16 checkpoints of `total` bytes together, in safetensors."""
    for index in range(8):
        rng = np.random.default_rng([SEED, 100, index])
        write_safetensors(folder / f"epoch_{index:02}.safetensors", rng, total // 8, bf16=True)


# --- text -----------------------------------------------------------------------------------------------------------

VOCABULARY = 20_000
SEPARATORS = [b" ", b", ", b" = ", b"(", b"):\n    ", b"\n", b"\n    ", b"\n        ", b"\n            ", b")\n\n"]
SEPARATOR_WEIGHTS = [0.6, 0.1, 0.08, 0.08, 0.02, 0.02, 0.04, 0.03, 0.02, 0.01]


class Words:
    """A vocabulary with Zipf's frequencies, common phrases, and a few identifiers that each text prefers."""

    def __init__(self, rng: np.random.Generator) -> None:
        syllables = ["".join(parts) for parts in product("bcdfghjklmnprstvw", "aeiou", ["", "n", "r", "s", "t", "l"])]
        words = {
            "".join(syllables[i] for i in rng.integers(0, len(syllables), 1 + int(rng.integers(0, 4)))): None
            for _ in range(VOCABULARY * 2)
        }
        self.tokens = [word.encode() for word in list(words)[:VOCABULARY]]
        self.size = len(self.tokens)
        frequency = 1 / np.arange(1, self.size + 1) ** 1.05
        self.cumulative = np.cumsum(frequency / frequency.sum())
        for length in rng.integers(2, 6, VOCABULARY):
            self.tokens.append(b" ".join(self.tokens[i] for i in self.pick(rng, int(length))))
        self.first_separator = len(self.tokens)
        self.tokens += SEPARATORS

    def pick(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """Return `count` indices of words, the frequent ones often."""
        return np.minimum(np.searchsorted(self.cumulative, rng.random(count)), self.size - 1)

    def text(self, rng: np.random.Generator, size: int) -> bytes:
        """Return `size` bytes that compress as source code does."""
        count = size // 4 + 64
        local = self.pick(rng, 24)[np.minimum(rng.exponential(6, count).astype(np.int64), 23)]
        kind = rng.random(count)
        words = np.where(kind < 0.30, local, self.pick(rng, count))
        words = np.where(kind > 0.94, words + self.size, words)
        separators = rng.choice(len(SEPARATORS), count, p=SEPARATOR_WEIGHTS) + self.first_separator
        both = np.stack([words, separators], axis=1).ravel().tolist()
        return b"".join(map(self.tokens.__getitem__, both))[:size]


def text(folder: Path, count: int) -> None:
    """Write `count` text files of 1 to 20 KiB in folders of 100."""
    words = Words(np.random.default_rng([SEED, 200]))
    for index in range(count):
        rng = np.random.default_rng([SEED, 201, index])
        place = folder / f"part_{index // 100:03}"
        if index % 100 == 0:
            place.mkdir()
        (place / f"module_{index:05}.py").write_bytes(words.text(rng, int(rng.integers(1024, 20481))))


def small(folder: Path, count: int) -> None:
    """Write `count` files of 64 bytes to 1.5 KiB in folders of 1,000: annotations, one a sample."""
    words = Words(np.random.default_rng([SEED, 300]))
    rng = np.random.default_rng([SEED, 301])
    pool = words.text(rng, 8 * MIB)
    starts = rng.integers(0, len(pool) - 1536, count).tolist()
    sizes = rng.integers(40, 1500, count).tolist()
    for index, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        if index % 1000 == 0:
            place = folder / f"{index // 1000:04}"
            place.mkdir()
        with open(f"{place}/{index:07}.txt", "wb", buffering=0) as file:  # noqa: PTH123 - a million times: speed
            file.write(b"sample %d label %d\n" % (index, index % 1000) + pool[start : start + size])


# --- logs -----------------------------------------------------------------------------------------------------------


LINE = (
    b"2026-11-22 ##:##:##,### INFO trainer step=######## loss=#.###### acc=0.#### grad=##.##### lr=0.###### ips=###.#\n"
)


def log_lines(rng: np.random.Generator, first: int, size: int) -> bytes:
    """Return up to `size` bytes of whole lines that a training loop prints, steps counted from `first`."""
    count = max(1, size // len(LINE))
    step = np.arange(first, first + count)
    limits = (1000, 10_000_000, 10_000, 5_000_000, 100_000, 10_000)
    millis, loss, acc, grad, lr, ips = (rng.integers(0, limit, count) for limit in limits)
    lines = np.tile(np.frombuffer(LINE, np.uint8), (count, 1))
    holes = np.flatnonzero(lines[0] == ord("#"))
    fields = [
        (step // 3600 % 24, 2),
        (step // 60 % 60, 2),
        (step % 60, 2),
        (millis, 3),
        (step, 8),
        (loss, 7),
        (acc, 4),
        (grad, 7),
        (lr, 6),
        (ips, 4),
    ]
    at = 0
    for values, width in fields:
        for place in range(width):
            lines[:, holes[at + width - 1 - place]] = values // 10**place % 10 + ord("0")
        at += width
    return lines.tobytes()


def log(path: Path, size: int, seed: int = 400) -> None:
    """Write one log of about `size` bytes."""
    with path.open("wb") as file:
        for block in range(0, size, 16 * MIB):
            rng = np.random.default_rng([SEED, seed, block])
            file.write(log_lines(rng, block // len(LINE), min(16 * MIB, size - block)))


def grow_log(path: Path, extra: int, seed: int = 400) -> None:
    """Append about `extra` bytes of further lines."""
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(log_lines(np.random.default_rng([SEED, seed, size]), size // len(LINE), extra))


def logs(folder: Path, size: int) -> None:
    """Write 20 logs of `size` bytes each."""
    for index in range(20):
        log(folder / f"worker_{index:02}.log", size, seed=500 + index)


def grow_logs(folder: Path, extra: int) -> None:
    """Append `extra` bytes to each log of the folder."""
    for index in range(20):
        grow_log(folder / f"worker_{index:02}.log", extra, seed=500 + index)


# --- others ---------------------------------------------------------------------------------------------------------


def random_file(path: Path, size: int) -> None:
    """Write one file of random bytes: nothing to compress, so that stored growth shows only the cut points."""
    rng = np.random.default_rng([SEED, 600])
    with path.open("wb") as file:
        for start in range(0, size, 16 * MIB):
            file.write(rng.bytes(min(16 * MIB, size - start)))


def insert(path: Path, places: int) -> None:
    """Insert 1 KiB of new random bytes at `places` places, spread over the file."""
    rng = np.random.default_rng([SEED, 601])
    size = path.stat().st_size
    positions = sorted(int(p) for p in rng.integers(0, size, places))
    changed = path.with_name(path.name + ".new")
    with path.open("rb") as source, changed.open("wb") as target:
        for start, end in zip([0, *positions], [*positions, size], strict=True):
            copy_range(source.fileno(), target.fileno(), start, end)
            if end != size:
                target.write(rng.bytes(1024))
                target.flush()
    changed.replace(path)


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Copy bytes [start, end) of one open file to the end of another."""
    while start < end:
        start += os.sendfile(target, source, start, min(16 * MIB, end - start))


def change(folder: Path, permille: int) -> None:
    """Overwrite `permille` of each checkpoint, in one piece around its middle, as when one small layer was trained."""
    rng = np.random.default_rng([SEED, 700, permille])
    for path in sorted(folder.iterdir()):
        size = path.stat().st_size
        count = size * permille // 1000 // 4 * 4
        with path.open("r+b") as file:
            file.seek(inside_a_member(path, size // 2 // 4096 * 4096, count))
            file.write(weights(rng, count // 4).view(np.uint8).data)


def inside_a_member(path: Path, start: int, count: int) -> int:
    """Return `start`, or a place near it from which `count` bytes hit no header of a zip file: it stays a zip file."""
    if not zipfile.is_zipfile(path):
        return start
    with zipfile.ZipFile(path) as archive:
        edges = [info.header_offset for info in archive.infolist()] + [archive.start_dir]
    room = [(low + 4096, high - 4096) for low, high in pairwise(sorted(edges)) if high - low >= count + 8192]
    low, high = min(room, key=lambda one: max(one[0] - start, start + count - one[1], 0))
    return min(max(start, low), high - count) // 4096 * 4096


def sparse(path: Path, size: int) -> None:
    """Write a file of holes with 64 KiB of random bytes in every GiB and at its end."""
    rng = np.random.default_rng([SEED, 800])
    with path.open("wb") as file:
        file.truncate(size)
        for position in [*range(0, size, 1 << 30), size - 65536]:
            file.seek(position)
            file.write(rng.bytes(65536))


def calibrate(folder: Path, _: int) -> None:
    """Print how zstd level 1 shrinks the files of a folder: one by one, and joined and cut into blocks."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=1)
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    joined = b"".join(files)
    print(f"{len(files)} files, {len(joined)} bytes")
    print(f"one by one {len(joined) / sum(len(compressor.compress(file)) for file in files):.2f}")
    for block in (1 << 16, 1 << 18, 1 << 20):
        stored = sum(len(compressor.compress(joined[i : i + block])) for i in range(0, len(joined), block))
        print(f"blocks of {block >> 10} KiB {len(joined) / stored:.2f}")


FOLDERS: dict[str, Callable[[Path, int], None]] = {
    "checkpoints": checkpoints,
    "checkpoints_bf16": checkpoints_bf16,
    "text": text,
    "small": small,
    "logs": logs,
}
CHANGES: dict[str, Callable[[Path, int], None]] = {
    "log": log,
    "random": random_file,
    "sparse": sparse,
    "insert": insert,
    "grow_log": grow_log,
    "grow_logs": grow_logs,
    "change": change,
    "calibrate": calibrate,
}


def main() -> None:
    """Run as `datasets.py GENERATOR PATH NUMBER`: a folder generator makes the folder first."""
    name, path, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
    if name in FOLDERS:
        path.mkdir(parents=True)
        FOLDERS[name](path, number)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        CHANGES[name](path, number)


if __name__ == "__main__":
    main()
