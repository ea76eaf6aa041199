"""What writers and the collector tell each other: pins of a commit in flight, and lists of condemned packs. JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError
from studio_cas.formats import document
from studio_cas.ids import PackId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.ids import Buffer

FORMAT_NUMBER = 1


def encode(packs: Iterable[PackId]) -> bytes:
    """A pin, or a condemned list."""
    return json.dumps({"format": FORMAT_NUMBER, "packs": sorted(pack.hex() for pack in packs)}).encode() + b"\n"


def decode(data: Buffer, key: str = "a list of packs") -> frozenset[PackId]:
    """The packs that are named in the object under `key`. Raises CorruptError."""
    with document.reading(f"{key} is damaged"):
        row = document.parse(data)
        if document.integer(row["format"]) != FORMAT_NUMBER:
            number = f"{row['format']!s:.20}"
            raise CorruptError(f"{key} has format {number}: a newer studio_cas wrote it; upgrade to read it")
        return frozenset(map(PackId.parse, document.texts(row["packs"])))
