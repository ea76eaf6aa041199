"""The key with which this machine signs versions, and the signing: a version says which one came before it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from studio_cas.errors import ConfigError, ConflictError, LocalIOError, NotFoundError
from studio_cas.formats import keys, signature, version
from studio_cas.formats.signature import Predecessor, Statement
from studio_cas.ids import RecordId, digest
from studio_cas.store import heads
from studio_cas.store.trust import FOLDER, key_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studio_cas.backends.base import Backend
    from studio_cas.formats.version import Version
    from studio_cas.store.ed25519 import PrivateKey
    from studio_cas.store.store import Store

KEY_VARIABLE: Final = "STUDIOML_SIGNING_KEY"
_FILE: Final = "signing.pem"
_LIMIT: Final = 65536


class Signer:
    """A private key in use. `key`: its public key, as text; `file`: device and inode of the file it lies in."""

    def __init__(self, private: PrivateKey, file: tuple[int, int]) -> None:
        self._private = private
        self.file = file
        self.key = signature.key_text(private.public())

    def sign(self, record: bytes, store_id: str, previous: Predecessor | None, origin: str | None = None) -> bytes:
        """The version record `record`, which has no signature, with ours; see formats/signature."""
        message = signature.state(record, Statement(self.key, store_id, previous, origin))
        return signature.attach(message, self._private.sign(message))


def key_path(home: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the key is that signs: as `$STUDIOML_SIGNING_KEY` says, else in the home."""
    named = environ.get(KEY_VARIABLE)
    return Path(named).expanduser().absolute() if named else home / FOLDER / _FILE


def load_signer(home: Path, environ: Mapping[str, str] = os.environ) -> Signer | None:
    """The key that signs, None where there is none. Raises ConfigError: it cannot be used, or others may read it."""
    path = key_path(home, environ)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = status.st_mode & 0o777
            pem = file.read(_LIMIT)
    except FileNotFoundError:
        if environ.get(KEY_VARIABLE):
            raise ConfigError(f"the key file {path}, named by {KEY_VARIABLE}, does not exist") from None
        return None
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(
            f"the key file {path} can be read by other users (mode {mode:04o}), so its signatures would prove nothing: "
            f"run chmod 600 {path}, or make a new key if they may have read it"
        )
    from studio_cas.store import ed25519

    try:
        return Signer(ed25519.load(pem), (status.st_dev, status.st_ino))
    except ValueError as error:
        raise ConfigError(f"the key file {path} holds no private key for ed25519 in PEM: {error}") from error


def key_files(store: Store) -> frozenset[tuple[int, int]]:
    """(device, inode) of the key in use, and of what lies in its place by now. Raises ConfigError."""
    if store.signer is None:
        return frozenset()
    found = {store.signer.file}
    with suppress(OSError):
        status = key_path(store.home).stat()
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def make_key(home: Path) -> Signer:
    """Make the key of this machine. Raises ConflictError where there is one, ConfigError, LocalIOError."""
    from studio_cas.store import ed25519

    made = ed25519.generate()
    path = home / FOLDER / _FILE
    try:
        beside = key_folder(home) / f".{_FILE}-{os.urandom(4).hex()}"
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
                file.write(made.pem())
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(beside)
            status = path.stat()
        finally:
            beside.unlink(missing_ok=True)
    except FileExistsError:
        raise ConflictError(
            f"there is a key at {path} already: studio trust list shows it; move it away to make a new one"
        ) from None
    except OSError as error:
        raise LocalIOError(f"{path} cannot be written: {error.strerror}") from error
    return Signer(made, (status.st_dev, status.st_ino))


def check_key(store: Store) -> None:
    """Before long work whose end is a version: the key, where there is one, can be used. Raises ConfigError."""
    _ = store.signer


def signed(store: Store, made: Version, record: bytes, origin: str | None = None) -> bytes:
    """The bytes `record` of the version `made`, which have no signature, signed where this machine has a key."""
    signer = store.signer
    if signer is None:
        return record
    previous = predecessor(store.backend, made.experiment, made.tag, made.number)
    return signer.sign(record, store.config.store_id, previous, origin)


def remember(store: Store, made: Version, number: int, record: bytes) -> None:
    """Remember that `made`, which lies in the store under `number` as `record`, was there, where it is signed."""
    found = signature.read(record)
    if found is not None:
        mine = Predecessor(number, record_id(record))
        heads.follow(store, made.experiment, made.tag, mine, found.statement.previous)


def predecessor(backend: Backend, experiment: str, tag: str, number: int) -> Predecessor | None:
    """The newest version below `number`: most often the one before it, which takes one read."""
    if number <= 1:
        return None
    with suppress(NotFoundError):
        return _named(backend, keys.version(experiment, tag, number - 1))
    for found in backend.list(keys.versions(experiment, tag)):
        if keys.version_number(found.key) < number:
            with suppress(NotFoundError):  # it was removed just now
                return _named(backend, found.key)
    return None


def _named(backend: Backend, key: str) -> Predecessor:
    """The version under `key`. Raises NotFoundError, also where it was removed."""
    record = bytes(backend.read(key))
    if version.is_removal_mark(record):
        raise NotFoundError(key)
    return Predecessor(keys.version_number(key), record_id(record))


def record_id(record: bytes) -> RecordId:
    """The id of a version record, as its bytes lie in the store."""
    return RecordId(digest(record))
