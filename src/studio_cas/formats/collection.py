"""What writers and the collector tell each other: pins of a commit in flight, and lists of condemned packs. JSON.

They have a digest: a list with one wrong bit would let a writer believe in a pack that is deleted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError
from studio_cas.formats import document
from studio_cas.ids import PackId, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.ids import Buffer

FORMAT_NUMBER = 1


def encode(packs: Iterable[PackId]) -> bytes:
    """A pin, or a condemned list."""
    ids = sorted(packs)
    row = {"format": FORMAT_NUMBER, "packs": [pack.hex() for pack in ids], "digest": digest(b"".join(ids)).hex()}
    return json.dumps(row).encode() + b"\n"


def decode(data: Buffer, key: str = "a list of packs") -> frozenset[PackId]:
    """The packs that are named in the object under `key`. Raises CorruptError."""
    with document.reading(f"{key} is damaged"):
        row = document.parse(data)
        if document.integer(row["format"]) != FORMAT_NUMBER:
            number = f"{row['format']!s:.20}"
            raise CorruptError(f"{key} has format {number}: a newer studio_cas wrote it; upgrade to read it")
        ids = tuple(map(PackId.parse, document.texts(row["packs"])))
        if row.get("digest", found := digest(b"".join(ids)).hex()) != found:  # pins of old had none
            raise ValueError("it is not what its digest says")
        return frozenset(ids)
