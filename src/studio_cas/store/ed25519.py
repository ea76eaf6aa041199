"""Signatures by ed25519 (RFC 8032), and the only use of the library `cryptography`, an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def public(self) -> bytes:
        """Its public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, 64 bytes, the same each time."""
        return self._key.sign(message)

    def pem(self) -> bytes:
        """The key as a file holds it: PKCS#8 in PEM, without a passphrase."""
        from cryptography.hazmat.primitives import serialization

        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def generate() -> PrivateKey:
    """A new key, from the system's randomness. Raises ConfigError where the library is missing."""
    return PrivateKey(_library()[0].generate())


def load(pem: bytes) -> PrivateKey:
    """The key that `pem` holds. Raises ValueError, ConfigError."""
    private, _ = _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:  # it takes a passphrase, or is of a kind that nobody knows
        raise ValueError(str(error)) from error
    if not isinstance(key, private):
        raise ValueError("it is a key for another algorithm")  # noqa: TRY004  # the file's fault, not the caller's
    return PrivateKey(key)


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is one of `message` by the public `key`. Raises ConfigError."""
    _, public = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        public.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _library() -> tuple[type[Ed25519PrivateKey], type[Ed25519PublicKey]]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    except ModuleNotFoundError:
        raise ConfigError("signatures need the extra [sign]: pip install 'studio-cas[sign]'") from None
    return Ed25519PrivateKey, Ed25519PublicKey
