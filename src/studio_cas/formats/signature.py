"""The signature of a version record: what its signer states, in the record, and 64 bytes at its end over all before.

The signature covers the bytes of the record as they are, up to the comma before its own line. So nobody has to agree on
how JSON is written, and a reader that knows nothing of signatures reads the record as any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from studio_cas.errors import CorruptError
from studio_cas.formats import document, version
from studio_cas.ids import RecordId

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

DOMAIN: Final = b"studio_cas signed version 1\n"
"""What stands before the bytes that are signed: a signature of anything else never fits a version."""
KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
_ALGORITHM: Final = "ed25519:"
_CLOSING: Final = b"\n}\n"
_END: Final = re.compile(rb',\n "signature": "([0-9a-f]{128})"\n\}\n')
_END_SIZE: Final = len(b',\n "signature": ""\n}\n') + 2 * SIGNATURE_SIZE
_DAMAGED: Final = "its signature is damaged"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The version that was the next older one when a version was signed."""

    number: int
    record_id: RecordId


@dataclass(frozen=True, slots=True)
class Statement:
    """What a signer states beside the record itself.

    `key`: the public key, as `ed25519:` and hexadecimal digits; `store`: id of the store that the record is for;
    `previous`: None where there was no older version; `origin`: the key that had signed the version of which this one
    is a copy, None where it is no copy.
    """

    key: str
    store: str
    previous: Predecessor | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """The signature of a record, not verified: `signature` has to be one of `message` by `statement.key`."""

    statement: Statement
    message: bytes
    signature: bytes


def key_text(raw: bytes) -> str:
    """A public key as people exchange it."""
    return f"{_ALGORITHM}{raw.hex()}"


def parse_key(text: str) -> bytes:
    """The 32 bytes of a public key, which `ed25519:` may precede. Raises ValueError."""
    digits = text.strip().lower().removeprefix(_ALGORITHM)
    if not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_SIZE}}}", digits):
        raise ValueError(f"{text:.100} is no public key: it is {_ALGORITHM} and {2 * KEY_SIZE} hexadecimal digits")
    return bytes.fromhex(digits)


def state(record: bytes, statement: Statement) -> bytes:
    """The bytes to be signed of `record`, which has no signature. Raises CorruptError."""
    previous = statement.previous
    row: dict[str, Any] = {"key": statement.key, "store": statement.store, "previous": None}
    if previous is not None:
        row["previous"] = {"number": previous.number, "record": previous.record_id.hex()}
    if statement.origin is not None:
        row["origin"] = statement.origin
    return DOMAIN + version.stating(record, row).removesuffix(_CLOSING)


def attach(message: bytes, signature: bytes) -> bytes:
    """The signed record, from the bytes that were signed."""
    end = f',\n "signature": "{signature.hex()}"\n}}\n'.encode()
    return message.removeprefix(DOMAIN) + end


def read(record: Buffer) -> Signed | None:
    """The signature of `record`, None where it has none. Raises CorruptError."""
    data = bytes(record)
    with document.reading(_DAMAGED):
        row = document.parse(data)
        if not any(name in row for name in version.SIGNATURE_KEYS):
            return None
        end = _END.fullmatch(data[-_END_SIZE:])
        if end is None:
            raise CorruptError(f"{_DAMAGED}: it does not stand at the end")
        statement = _statement(document.mapping(row["signed"]))
    return Signed(statement, DOMAIN + data[:-_END_SIZE], bytes.fromhex(end[1].decode()))


def _statement(row: dict[str, Any]) -> Statement:
    origin = row.get("origin")
    previous = row["previous"]
    return Statement(
        key=key_text(parse_key(document.text(row["key"]))),
        store=document.text(row["store"]),
        previous=None if previous is None else _predecessor(document.mapping(previous)),
        origin=None if origin is None else key_text(parse_key(document.text(origin))),
    )


def _predecessor(row: dict[str, Any]) -> Predecessor:
    return Predecessor(document.count(row["number"]), RecordId.parse(document.text(row["record"])))
