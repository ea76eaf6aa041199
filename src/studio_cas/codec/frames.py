"""Encode and decode one frame by its codec number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.codec import zstd
from studio_cas.codec.choose import RAW_ABOVE, Choice, Codec
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from studio_cas.ids import Buffer


def encode(data: memoryview, choice: Choice, offset: int, level: int = zstd.FAST_LEVEL) -> tuple[Codec, list[Buffer]]:
    """Store `data`, which lies at `offset` of its file: the codec that was used, and the stored bytes in parts.

    Raw parts are views of `data`: they are valid as long as it is.
    """
    parts: list[Buffer] = [data]
    if choice.codec is Codec.ZSTD:
        parts = [zstd.compress(data, level)]
    elif choice.codec is Codec.PLANES:
        from studio_cas.codec import planes

        parts = planes.encode(data, choice.width, (choice.phase - offset) % choice.width, choice.groups)
    if choice.codec is Codec.RAW or sum(map(len, parts)) > RAW_ABOVE * len(data):
        return Codec.RAW, [data]
    return choice.codec, parts


def decode(codec: int, payload: memoryview, size: int) -> Buffer:
    """The `size` plain bytes of a frame; valid until this thread decodes the next one. Raises CorruptError."""
    if codec == Codec.RAW:
        if len(payload) != size:
            message = f"a raw frame has {len(payload)} bytes where {size} are expected"
            raise CorruptError(message)
        return payload
    if codec == Codec.ZSTD:
        return zstd.decompress(payload, size)
    if codec == Codec.PLANES:
        from studio_cas.codec import planes

        return planes.decode(payload, size)
    message = f"codec {codec} is unknown: a newer studio_cas wrote this; upgrade to read it"
    raise CorruptError(message)
