"""A run of hooks: sampled chunk ids and the packs that hold them. Derived: it can be rebuilt from pack footers.

offset  size  field
0       8     magic "SCASHOOK"
8       48*n  rows, ascending: 32 bytes chunk id, 16 bytes pack id
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError
from studio_cas.ids import DIGEST_SIZE, PACK_ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.ids import Buffer

MAGIC = b"SCASHOOK"
ROW = DIGEST_SIZE + PACK_ID_SIZE
SAMPLE_MASK = 0x3F
SIZE_LIMIT = 64 * 1024 * 1024  # a run of a capture of 20 TB


def is_sampled(chunk_id: bytes) -> bool:
    """Whether the chunk is one of the one in 64 that are hooks wherever they stand."""
    return not chunk_id[0] & SAMPLE_MASK


def encode(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The object for (chunk id, pack id) pairs."""
    return MAGIC + b"".join(sorted({chunk_id + pack for chunk_id, pack in rows}))


def decode(data: Buffer) -> list[tuple[bytes, bytes]]:
    """The pairs. Raises CorruptError."""
    raw = bytes(data[: SIZE_LIMIT + 1])
    if not raw.startswith(MAGIC) or (len(raw) - len(MAGIC)) % ROW or len(raw) > SIZE_LIMIT:
        message = "a run of hooks is damaged"
        raise CorruptError(message)
    return [(raw[at : at + DIGEST_SIZE], raw[at + DIGEST_SIZE : at + ROW]) for at in range(len(MAGIC), len(raw), ROW)]
