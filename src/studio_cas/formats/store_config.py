"""format.json: what everybody who opens a store must agree on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field

from studio_cas.chunking.parameters import ChunkingParameters
from studio_cas.errors import CorruptError, StoreUnavailableError

FORMAT_NUMBER = 1
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
    document = {
        "format": FORMAT_NUMBER,
        "store": config.store_id,
        "hash": "blake3-256",
        "chunking": {"algorithm": "fastcdc-64-nc2", **asdict(config.chunking)},
        "inline_limit": config.inline_limit,
        "features": list(config.features),
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def decode(data: bytes) -> StoreConfig:
    """Raises CorruptError, and StoreUnavailableError where a newer program is needed."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT_NUMBER or not set(document["features"]) <= KNOWN_FEATURES:
            message = (
                f"the store has format {document['format']} with features {document['features']}; "
                f"this studio_cas reads format {FORMAT_NUMBER}: upgrade it"
            )
            raise StoreUnavailableError(message)
        chunking = {name: document["chunking"][name] for name in ("minimum", "average", "maximum", "fixed")}
        return StoreConfig(
            str(document["store"]),
            ChunkingParameters(**chunking),
            int(document["inline_limit"]),
            tuple(document["features"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        message = f"format.json of the store is not readable ({error}): is this a studio_cas store?"
        raise CorruptError(message) from error
