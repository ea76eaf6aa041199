"""Which profile a file is cut with. It follows from the file's bytes and name alone, never from history or machine.

cdc      content-defined; the default
log      content-defined, a quarter of the sizes: files that only grow (by their names)
fixed    equal pieces: databases that are rewritten in place (SQLite by its magic, LMDB by its names)
tensor   equal pieces of each large tensor, from where it begins: safetensors, and zip-stored .pt/.pth/.ckpt/.npz
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from studio_cas.chunking import tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    ReadAt = Callable[[int, int], bytes]

SQLITE_MAGIC = b"SQLite format 3\0"
LMDB_NAMES = (b".mdb", b".lmdb")
HEAD = 16
APPEND_SUFFIXES = (b".log", b".jsonl", b".ndjson", b".out", b".err")


class Profile(IntEnum):
    """Persisted in manifests."""

    CDC = 0
    FIXED = 1
    TENSOR = 2
    LOG = 3


@dataclass(frozen=True, slots=True)
class Cutting:
    """A profile, and the offsets at which cutting begins anew, ascending, ending with the file's size.

    `equal`: those of them that end a region of equal pieces.
    """

    profile: Profile
    regions: tuple[int, ...]
    equal: frozenset[int] = frozenset()


def is_append_only(name: bytes) -> bool:
    """Whether files of this name only ever grow, so that a prefix of one is whole: logs, event files, `output`."""
    return name.endswith(APPEND_SUFFIXES) or b"tfevents" in name or name == b"output"


def choose(name: bytes, size: int, read_at: ReadAt, minimum: int) -> Cutting:
    """The cutting of the file `name` of `size` bytes; `read_at(offset, length)` reads it.

    Files of at most `minimum` bytes are one chunk whatever the profile, and are called `cdc` unread.
    """
    plain = Cutting(Profile.CDC, (size,))
    if size <= minimum:
        return plain
    if is_append_only(name):
        return Cutting(Profile.LOG, (size,))
    lower = name.lower()
    if lower.endswith(LMDB_NAMES):
        return Cutting(Profile.FIXED, (size,))
    head = read_at(0, HEAD)
    if head == SQLITE_MAGIC:
        return Cutting(Profile.FIXED, (size,))
    if lower.endswith(b".safetensors"):
        spans = tensor.safetensors_spans(size, read_at) or []
    elif head[:4] == tensor.ZIP_LOCAL_MAGIC and lower.endswith(tensor.ZIP_NAMES):
        spans = tensor.zip_spans(size, read_at)
    else:
        return plain
    regions, equal = tensor.regions(spans, size, minimum)
    return Cutting(Profile.TENSOR, regions, equal) if equal else plain
