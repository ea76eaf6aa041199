"""A pack: header, frames back to back, footer, trailer. The footer lists the frames and their chunks by column.

    offset        size      field
    0             8         magic "SCASPACK"
    8             1         format number, 1
    9             1         kind: 0 data, 1 tree
    10            6         zero
    16            ...       frames
    ...           ...       footer, zstd; see `encode_footer`
    end - 52      4         stored length of the footer
    end - 48      4         plain length of the footer
    end - 44      4         zero
    end - 40      32        BLAKE3-256 of the stored footer
    end - 8       8         magic "SCASFOOT"

All integers are little-endian. A frame holds one chunk, or several small ones; a chunk's place is its frame and an
offset inside the frame's plain bytes. Both follow from the lengths before them, so the footer holds lengths only.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from studio_cas.codec import zstd
from studio_cas.errors import CorruptError
from studio_cas.ids import DIGEST_SIZE, digest

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

MAGIC = b"SCASPACK"
FOOTER_MAGIC = b"SCASFOOT"
FORMAT_NUMBER = 1
HEADER_SIZE = 16
TRAILER = struct.Struct("<III32s8s")
COUNTS = struct.Struct("<II")
TARGET_SIZE = 32 * 1024 * 1024
HARD_CAP = 48 * 1024 * 1024
FOOTER_LIMIT = 64 * 1024 * 1024
FRAME_LIMIT = 4 * 1024 * 1024


class Kind(IntEnum):
    """What the chunks of a pack are."""

    DATA = 0
    TREE = 1


@dataclass(frozen=True, slots=True)
class Footer:
    """Columns. Frames: stored length, plain length, codec. Chunks, in order: index of the frame, plain length, id."""

    stored: array[int]
    plain: array[int]
    codecs: bytes
    frames: array[int]
    lengths: array[int]
    ids: bytes


def header(kind: Kind) -> bytes:
    """The first 16 bytes of a pack."""
    return MAGIC + bytes((FORMAT_NUMBER, kind)) + bytes(6)


def encode_footer(footer: Footer) -> list[bytes]:
    """Footer and trailer: u32 count of frames and of chunks, then the columns, u32 or u8 or 32 bytes a row."""
    columns = (footer.stored, footer.plain, footer.codecs, footer.frames, footer.lengths, footer.ids)
    plain = COUNTS.pack(len(footer.stored), len(footer.frames)) + b"".join(bytes(column) for column in columns)
    stored = zstd.compress(plain)
    return [stored, TRAILER.pack(len(stored), len(plain), 0, digest(stored), FOOTER_MAGIC)]


def footer_extent(trailer: Buffer, size: int) -> tuple[int, int]:
    """Offset and length of the stored footer in a pack of `size` bytes, from its last bytes. Raises CorruptError."""
    if len(trailer) != TRAILER.size:
        message = f"a pack of {size} bytes has no trailer"
        raise CorruptError(message)
    stored_length, plain_length, _, _, magic = TRAILER.unpack(trailer)
    room = min(FOOTER_LIMIT, size - TRAILER.size - HEADER_SIZE)
    if magic != FOOTER_MAGIC or stored_length > room or plain_length > FOOTER_LIMIT:
        message = "the trailer of a pack is damaged"
        raise CorruptError(message)
    return size - TRAILER.size - stored_length, stored_length


def decode_footer(stored: Buffer, trailer: Buffer) -> Footer:
    """Raises CorruptError unless every byte is as it was written."""
    try:
        _, plain_length, _, expected, _ = TRAILER.unpack(trailer)
        if digest(stored) != expected or plain_length > FOOTER_LIMIT:
            message = "the footer of a pack is damaged"
            raise CorruptError(message)
        return _decode_columns(memoryview(zstd.decompress(stored, plain_length)))
    except (struct.error, ValueError) as error:
        message = f"the footer of a pack is damaged: {error}"
        raise CorruptError(message) from error


def _decode_columns(plain: memoryview) -> Footer:
    frame_count, chunk_count = COUNTS.unpack_from(plain)
    at = COUNTS.size
    if len(plain) != at + 9 * frame_count + (8 + DIGEST_SIZE) * chunk_count:
        message = "the footer of a pack has the wrong length"
        raise CorruptError(message)
    columns: list[memoryview] = []
    for width, count in ((4, frame_count), (4, frame_count), (1, frame_count), (4, chunk_count), (4, chunk_count)):
        columns.append(plain[at : at + width * count])
        at += width * count
    ids = bytes(plain[at:])
    numbers = [array("I", bytes(column)) for column in (columns[0], columns[1], columns[3], columns[4])]
    return Footer(numbers[0], numbers[1], bytes(columns[2]), numbers[2], numbers[3], ids)
