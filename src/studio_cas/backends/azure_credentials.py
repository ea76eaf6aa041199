"""Who we are to Azure: an account, with its key, a SAS token, or a login; never a silent fall back to nobody.

Azure's tools name their variables in two ways, and both are known. A file holds lines `NAME=VALUE` of the same names,
or a connection string alone. No message repeats what a variable or a file holds.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from studio_cas.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONNECTION: Final = "AZURE_STORAGE_CONNECTION_STRING"
_ACCOUNT: Final = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
_KEY: Final = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
_SAS: Final = ("AZURE_STORAGE_SAS_TOKEN",)
_NAMES: Final = frozenset({_CONNECTION, *_ACCOUNT, *_KEY, *_SAS})
_ACCOUNT_NAME: Final = re.compile(r"[a-z0-9]{3,24}")
_SUFFIX: Final = "core.windows.net"
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Account:
    """A storage account, the address of its blob service, and what proves that we may use it: a key, or a SAS token.

    Without either it is a login. `found_in` says where the proof was found.
    """

    name: str
    endpoint: str
    key: bytes | None = field(default=None, repr=False)
    sas: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    found_in: str = "a login"

    def has_expired(self, now: float) -> bool:
        """Whether a SAS token is no longer good, `now` being seconds since the epoch."""
        try:
            end = datetime.fromisoformat(unquote(dict(self.sas).get("se", "")))
        except ValueError:
            return False
        return now >= (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()

    @property
    def here(self) -> bool:
        """Whether its service runs on this machine."""
        return urlsplit(self.endpoint).hostname in _THIS_MACHINE


def load(
    file: Path | None, account: str | None, endpoint: str | None, environ: Mapping[str, str] = os.environ
) -> Account:
    """The account that is configured, with what `file` holds, else with what `environ` has.

    A connection string comes first, then a key, then a SAS token; where there is none of them, it is a login. Raises
    StoreUnavailableError.
    """
    given, place = (_read(file), str(file)) if file else (environ, "the environment")
    connection = given.get(_CONNECTION, "")
    said = _parsed(connection, place) if connection else {}
    named = said.get("accountname") or _first(given, _ACCOUNT)
    key, sas = said.get("accountkey"), said.get("sharedaccesssignature")
    if not connection:
        key, sas = _first(given, _KEY), _first(given, _SAS)
    if file and not (key or sas):
        raise _invalid(place)
    if account and named and account != named and (key or sas):
        raise StoreUnavailableError(
            f"the key in {place} is of the account {named}, and `account:` in the storage section names {account}"
        )
    name = account or named or _account_of(endpoint or said.get("blobendpoint") or "")
    if not name:
        raise StoreUnavailableError(
            "no Azure storage account is known: set `account:` in the storage section, or AZURE_STORAGE_ACCOUNT"
        )
    if _ACCOUNT_NAME.fullmatch(name) is None:
        raise StoreUnavailableError(f"{name!r} is no storage account: their names are 3 to 24 small letters and digits")
    found = Account(name, _endpoint(name, endpoint, said))
    if key:
        return Account(name, found.endpoint, key=_decoded(key, place), found_in=f"a key from {place}")
    if sas:
        found = Account(name, found.endpoint, sas=_pairs(sas, place), found_in=f"a SAS token from {place}")
    if not (found.here or found.endpoint.startswith("https://")):
        raise StoreUnavailableError(f"{found.endpoint} is not encrypted: only an account's key can be used there")
    return found


def _read(file: Path) -> Mapping[str, str]:
    """The names and values in a file."""
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise StoreUnavailableError(f"the credentials file {file} can not be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _invalid(str(file)) from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    pairs = [line.removeprefix("export ").partition("=") for line in lines]
    found = {name.strip(): value.strip().strip("\"'") for name, _, value in pairs if name.strip() in _NAMES}
    if not found and len(lines) == 1 and ";" in lines[0]:
        return {_CONNECTION: lines[0]}
    return found


def _invalid(place: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{place} is not a file of Azure keys: write a connection string into it, or the lines "
        f"{_ACCOUNT[0]}=… and {_KEY[0]}=… (or {_SAS[0]}=…)"
    )


def _first(given: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((given[name] for name in names if given.get(name)), None)


def _parsed(connection: str, place: str) -> dict[str, str]:
    """The parts of a connection string, by their names in lower case."""
    parts = [part.strip().partition("=") for part in connection.split(";") if part.strip()]
    found = {name.strip().lower(): value.strip() for name, equals, value in parts if equals}
    if not (found.get("accountkey") or found.get("sharedaccesssignature")):
        raise StoreUnavailableError(
            f"the connection string in {place} has neither AccountKey nor SharedAccessSignature: copy the whole of it"
        )
    return found


def _account_of(endpoint: str) -> str:
    """The account that an address names: as its first label, else, for an emulator, as its path."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    label, _, rest = (parts.hostname or "").partition(".")
    return label if rest.startswith("blob.") else parts.path.strip("/")


def _endpoint(account: str, named: str | None, said: Mapping[str, str]) -> str:
    """Where requests go: as configured, as a connection string says, else Azure's. Encrypted where nothing is said."""
    if found := named or said.get("blobendpoint"):
        if "://" not in found:
            here = urlsplit(f"//{found}").hostname in _THIS_MACHINE
            found = f"{'http' if here else 'https'}://{found}"
        return _checked(found.rstrip("/"))
    scheme = said.get("defaultendpointsprotocol") or "https"
    return _checked(f"{scheme}://{account}.blob.{said.get('endpointsuffix') or _SUFFIX}")


def _checked(endpoint: str) -> str:
    """`endpoint`, where it is an address and no more: one with a query may hold a SAS token, which nobody shall see."""
    try:
        parts = urlsplit(endpoint)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        fine = False
    if not fine or "?" in endpoint or "@" in endpoint or "#" in endpoint:
        raise StoreUnavailableError("the `endpoint` of the storage section is not an address like https://HOST:PORT")
    return endpoint


def _decoded(key: str, place: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except ValueError:
        raise StoreUnavailableError(f"the account's key in {place} is none: it was not copied whole") from None


def _pairs(sas: str, place: str) -> tuple[tuple[str, str], ...]:
    """The parameters of a SAS token, encoded for a query."""
    found = parse_qsl(sas.strip().rpartition("?")[2])
    if not {"sig", "sv"} <= {name for name, _ in found}:
        raise StoreUnavailableError(f"the SAS token in {place} is none: it was not copied whole")
    return tuple((name, quote(value, safe="")) for name, value in found)
