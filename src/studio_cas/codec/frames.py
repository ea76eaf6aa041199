"""Encode and decode one frame by its codec number."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from studio_cas.codec import zstd
from studio_cas.codec.choose import RAW_ABOVE, Choice, Codec
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from studio_cas.ids import Buffer


Encoded = tuple[Codec, "list[Buffer]"]


def encode(data: memoryview, choice: Choice, offset: int, level: int = zstd.FAST_LEVEL) -> Encoded:
    """Store `data`, which lies at `offset` of its file: the codec that was used, and the stored bytes in parts.

    Raw parts are views of `data`: they are valid as long as it is. With planes, `data` is used as room for them where
    it can be written to: its bytes are gone.
    """
    if choice.codec is Codec.PLANES:
        return encode_run(data, [len(data)], choice, offset)[0]
    if choice.codec is Codec.ZSTD:
        return _smaller(Codec.ZSTD, [zstd.compress(data, level)], data)
    return Codec.RAW, [data]


def encode_run(data: memoryview, lengths: list[int], choice: Choice, offset: int) -> list[Encoded]:
    """The same for consecutive chunks of `data`, in order; for planes much cheaper than one by one."""
    pieces = [data[start : start + length] for start, length in zip(accumulate(lengths, initial=0), lengths)]  # noqa: B905
    if choice.codec is not Codec.PLANES:
        return [encode(piece, choice, 0) for piece in pieces]
    from studio_cas.codec import planes

    phase = (choice.phase - offset) % choice.width
    payloads = planes.encode_run(data, lengths, choice.width, phase, choice.groups, limit=RAW_ABOVE)
    return [
        (Codec.RAW, [piece]) if parts is None else (Codec.PLANES, parts)
        for parts, piece in zip(payloads, pieces, strict=True)
    ]


def _smaller(codec: Codec, parts: list[Buffer], data: memoryview) -> Encoded:
    """`parts`, unless they save too little to be worth decoding."""
    return (codec, parts) if sum(map(len, parts)) <= RAW_ABOVE * len(data) else (Codec.RAW, [data])


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
