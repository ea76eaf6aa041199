"""format.json: what everybody who opens a store must agree on."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from studio_cas.chunking.parameters import ChunkingParameters
from studio_cas.errors import StoreUnavailableError
from studio_cas.formats import document
from studio_cas.formats.leaf import CHUNK_SIZE_LIMIT, LITERAL_LIMIT

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

FORMAT_NUMBER = 1
HASH = "blake3-256"
CHUNKER = "fastcdc-64-nc2"
SIZE_LIMIT = 1024 * 1024
SMALLEST = {
    "minimum": 256,
    "average": 1024,
    "maximum": 4096,
    "fixed": 64,
}  # logs are cut with a quarter of the first three
LARGEST_AVERAGE = 1024 * 1024  # beyond it there is no mask: docs/format.md, section 11
_STORE_ID = re.compile(r"[0-9a-f]{32}")
KNOWN_FEATURES: frozenset[str] = frozenset()
INLINE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """`features` are names that a reader must know; a store with an unknown one is refused."""

    store_id: str
    chunking: ChunkingParameters = field(default_factory=ChunkingParameters)
    inline_limit: int = INLINE_LIMIT
    features: tuple[str, ...] = ()


def new_config() -> StoreConfig:
    """The configuration of a new store, with a random id."""
    return StoreConfig(os.urandom(16).hex())


def encode(config: StoreConfig) -> bytes:
    """format.json."""
    row = {
        "format": FORMAT_NUMBER,
        "store": config.store_id,
        "hash": HASH,
        "chunking": {"algorithm": CHUNKER, **{name: size for name, size in asdict(config.chunking).items() if size}},
        "inline_limit": config.inline_limit,
        "features": list(config.features),
    }
    return json.dumps(row, indent=2).encode() + b"\n"


def decode(data: Buffer) -> StoreConfig:
    """Raises CorruptError, and StoreUnavailableError where a newer program is needed."""
    with document.reading("format.json of the store is not readable: is this a studio_cas store?"):
        row = document.parse(data, SIZE_LIMIT)
        features = document.texts(row["features"])
        chunking = document.mapping(row["chunking"])
        wanted = (document.integer(row["format"]), row["hash"], chunking["algorithm"])
        if wanted != (FORMAT_NUMBER, HASH, CHUNKER) or not set(features) <= KNOWN_FEATURES:
            told = ", ".join(f"{value!s:.40}" for value in (*wanted, *features[:5]))
            raise StoreUnavailableError(
                f"the store has format {told}; this studio_cas reads format {FORMAT_NUMBER}, {HASH}, {CHUNKER}: "
                "upgrade it"
            )
        return StoreConfig(
            _store_id(row["store"]), _chunking(chunking), _at_most(LITERAL_LIMIT, row["inline_limit"]), features
        )


def _store_id(value: object) -> str:
    """It becomes the name of a folder in caches, and so may be nothing else."""
    if not _STORE_ID.fullmatch(document.text(value)):
        raise ValueError("the id of a store has 32 hexadecimal digits")
    return document.text(value)


def _chunking(row: dict[str, Any]) -> ChunkingParameters:
    """Sizes that files can be cut with: each large enough to go on, and small enough for memory."""
    sizes = {name: _at_most(CHUNK_SIZE_LIMIT, row[name]) for name in SMALLEST}
    minimum, average, maximum, fixed = sizes.values()
    tensor = _at_most(CHUNK_SIZE_LIMIT - minimum, row.get("tensor", 0))
    too_small = any(size < SMALLEST[name] for name, size in sizes.items()) or 0 < tensor < SMALLEST["fixed"]
    if too_small or not minimum < average < maximum or average > LARGEST_AVERAGE:
        raise ValueError(f"files cannot be cut into pieces of {minimum}, {average}, {maximum}, {fixed}, {tensor} bytes")
    return ChunkingParameters(minimum, average, maximum, fixed, tensor)


def _at_most(limit: int, value: object) -> int:
    if document.count(value) > limit:
        raise ValueError(f"{value!s:.20} bytes are beyond any limit")
    return document.count(value)
