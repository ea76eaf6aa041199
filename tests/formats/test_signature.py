"""Signed records: the bytes that are signed, fixed for ever, and what is no signature."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from tests.golden import expect, noise

from studio_cas.errors import CorruptError
from studio_cas.formats import signature, version
from studio_cas.formats.signature import Predecessor, Statement
from studio_cas.ids import RecordId

GOLDEN = Path(__file__).parent / "golden"
PLAIN = (GOLDEN / "version with a placed tree.json").read_bytes()
KEY = Ed25519PrivateKey.from_private_bytes(noise("signing key", 32))
PUBLIC = KEY.public_key().public_bytes_raw()
STATED = Statement(
    signature.key_text(PUBLIC), "91f0a8b7c6d5e4f30211203f4e5d6c7b", Predecessor(6, RecordId(noise("record 6", 32)))
)


def signed(record: bytes = PLAIN, statement: Statement = STATED) -> bytes:
    message = signature.state(record, statement)
    return signature.attach(message, KEY.sign(message))


def test_a_signed_version_is_as_it_was_written_first():
    expect(GOLDEN / "signed version.json", signed())


def test_the_documentation_suffices_to_verify_it():
    data = (GOLDEN / "signed version.json").read_bytes()
    rest, line = data.removesuffix(b'"\n}\n').split(b',\n "signature": "')
    key = bytes.fromhex(json.loads(data)["signed"]["key"].removeprefix("ed25519:"))
    Ed25519PublicKey.from_public_bytes(key).verify(
        bytes.fromhex(line.decode()), b"studio_cas signed version 1\n" + rest
    )


def test_a_reader_that_knows_nothing_of_signatures_reads_the_same_version():
    assert version.decode(signed()) == version.decode(PLAIN)
    assert json.loads(signed()).items() >= json.loads(PLAIN).items()


def test_what_was_stated_comes_back():
    for statement in (STATED, Statement(STATED.key, STATED.store), Statement(STATED.key, "s", None, STATED.key)):
        found = signature.read(signed(statement=statement))
        assert found is not None
        assert found.statement == statement
        KEY.public_key().verify(found.signature, found.message)


def test_a_record_without_a_signature_has_none():
    assert signature.read(PLAIN) is None


def test_another_number_takes_the_signature_away():
    moved = version.renumbered(signed(), 9, 8)
    assert signature.read(moved) is None
    assert moved == version.renumbered(PLAIN, 9, 8)
    assert version.renumbered(signed(), 7, 6) == PLAIN


def edited(**changes: object) -> bytes:
    return (json.dumps(json.loads(signed()) | changes, indent=1) + "\n").encode()


@pytest.mark.parametrize(
    "data",
    [
        edited(signature=None),
        edited(signature="00"),
        edited(signed=None),
        edited(signed={}),
        edited(signed={"key": "ed25519:00", "store": "s", "previous": None}),
        edited(signed={"key": STATED.key, "store": "s", "previous": {"number": -1, "record": "00" * 32}}),
        edited(signed={"key": STATED.key, "store": "s", "previous": {"number": 1, "record": "00"}}),
        edited(more=1),
        signed()[:-1],
        signed() + b"\n",
        PLAIN.removesuffix(b"\n}\n") + b',\n "signed": {}\n}\n',
        PLAIN.removesuffix(b"\n}\n") + b',\n "signature": "' + b"0" * 128 + b'"\n}\n',
    ],
)
def test_half_a_signature_is_damage(data):
    with pytest.raises(CorruptError):
        signature.read(data)


@given(st.integers(0, len(signed()) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(at, change):
    data = bytearray(signed())
    data[at] ^= change
    try:
        found = signature.read(data)
    except CorruptError:
        return
    if found is not None and signature.parse_key(found.statement.key) == PUBLIC:
        with pytest.raises(InvalidSignature):
            KEY.public_key().verify(found.signature, found.message)


@pytest.mark.parametrize("text", [f"ed25519:{PUBLIC.hex()}", PUBLIC.hex(), f" ED25519:{PUBLIC.hex().upper()}\n"])
def test_a_public_key_is_read_as_people_write_it(text):
    assert signature.parse_key(text) == PUBLIC


@pytest.mark.parametrize("text", ["", "ed25519:", "rsa:" + "00" * 32, "00" * 31, "00" * 33, "zz" * 32, "0 " * 32])
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(ValueError, match="is no public key"):
        signature.parse_key(text)
