"""Byte planes: numbers of 2, 4 or 8 bytes, the sign rotated to the bottom, their bytes grouped by significance.

Neighbouring weights share sign-free exponents and little else, so the top plane compresses and the low ones are noise.
A group is 1, 2 or 4 neighbouring planes that are stored together: noise stays in wide groups, which costs no work.

Payload: u8 width, u8 phase, u8 count of groups, then for each group, lowest bytes first, u8 bytes of a number that it
holds, u8 how it is stored (0 raw, 1 zstd), u32 stored length; then the bytes before the first whole number (`phase` of
them) and after the last; then the groups, lowest first. The same payloads are made by `planes_native`, in C, and where
that is not built by `planes_numpy`.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING

from studio_cas import native
from studio_cas.codec import payload as payloads
from studio_cas.codec import planes_native
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from studio_cas.codec.payload import Groups
    from studio_cas.ids import Buffer

_scratch = threading.local()


def encode(data: memoryview, width: int, phase: int, groups: Groups) -> list[Buffer]:
    """The payload for `data`, in parts. `groups`: (bytes of a number, whether to compress), lowest bytes first."""
    (parts,) = encode_run(data, [len(data)], width, phase, groups)
    return parts or []


def encode_run(
    data: memoryview, lengths: list[int], width: int, phase: int, groups: Groups, *, limit: float | None = None
) -> list[list[Buffer] | None]:
    """The payloads of the consecutive chunks of `data`, in parts; `phase` is that of the first.

    None stands for a chunk whose payload would be longer than `limit` of it. Where `data` can be written to, what is
    stored is put where its chunk was: fresh memory for it would cost as much as all the rest.
    """
    library = native.library()
    if library:
        return planes_native.encode_run(library, data, lengths, width, phase, groups, limit)
    from studio_cas.codec import planes_numpy

    return planes_numpy.encode_run(data, lengths, width, phase, groups, limit)


def entropies(sample: memoryview, width: int) -> list[float]:
    """Order-0 entropy of each plane of the whole numbers in `sample`, lowest first, in bits a byte.

    With the correction of Miller and Madow: a small sample shows less entropy than its source has.
    """
    library = native.library()
    if library:
        return planes_native.entropies(library, sample, width)
    from studio_cas.codec import planes_numpy

    return planes_numpy.entropies(sample, width)


def decode(payload: memoryview, size: int) -> memoryview:
    """The `size` bytes of `payload`; valid until this thread's next call. Raises CorruptError."""
    try:
        parts = payloads.parse(payload, size)
        planes = [payloads.plane(group, parts.numbers) for group in parts.groups]
    except (struct.error, ValueError) as error:
        message = f"byte planes are damaged: {error}"
        raise CorruptError(message) from error
    phase = len(parts.before)
    end = phase + parts.numbers * parts.width
    out = _output(size, phase)
    out[:phase] = parts.before
    out[end:size] = parts.after
    sizes = [group[0] for group in parts.groups]
    if parts.numbers:
        _merge(planes, sizes, out[phase:end], parts.width)
    return out


def _merge(planes: list[Buffer], sizes: list[int], target: memoryview, width: int) -> None:
    library = native.library()
    if library:
        planes_native.merge(library, planes, sizes, target, width)
        return
    from studio_cas.codec import planes_numpy

    planes_numpy.merge(planes, sizes, target, width)


def _output(size: int, phase: int) -> memoryview:
    """Room for `size` bytes, in which the numbers that begin at `phase` are aligned."""
    held = getattr(_scratch, "output", None)
    if held is None or len(held) < size + 8:
        held = _scratch.output = memoryview(bytearray(max(size, 1024 * 1024) + 8))
    pad = -phase % 8
    room: memoryview = held[pad : pad + size]
    return room
