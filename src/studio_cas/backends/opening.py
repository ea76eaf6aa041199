"""From a URL, a path or a `storage:` section of the configuration to a backend with its decorators."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from studio_cas.backends.metered import Metered
from studio_cas.backends.tilde import expanded
from studio_cas.errors import StoreUnavailableError, UsageError

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend
    from studio_cas.backends.memory import MemoryBackend

SCHEMES: Final = (
    "a folder's path, file:///folder, gs://bucket/prefix, s3://bucket/prefix, az://container/prefix, or memory://name"
)
_memory_stores: Final[dict[str, MemoryBackend]] = {}
_memory_lock: Final = threading.Lock()
_HURRIED_SECONDS: Final = 20.0
_PATIENT_SECONDS: Final = 60.0


def open_backend(
    storage: str | os.PathLike[str] | Mapping[str, object],
    *,
    credentials: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    project: str | None = None,
    region: str | None = None,
    account: str | None = None,
    memory: Path | None = None,
    hurried: bool = False,
) -> Backend:
    """Open the store that `storage` names; no request is made, and no folder.

    `storage` is a path, a URL, or a mapping as in the configuration: `type` (local, gcloud, firebase, s3, azure,
    memory), then `path` or `bucket` and `prefix`, and `credentials`, `endpoint`, `project` (of Google), `region` (of
    Amazon) or `account` (of Azure). `credentials` is the key file of a service account, or a file of AWS or Azure keys;
    without it, they are searched where the tools of these clouds look. `memory` is a folder that keeps which clouds are
    safe to write to. Raises UsageError when it names no store, StoreUnavailableError where the extra that it needs is
    not installed. `hurried`: a cloud that does not answer is soon given up, as somebody keeps what is written until it
    is back.
    """
    if isinstance(storage, Mapping):
        section = {name: str(value) for name, value in storage.items() if value is not None}
        storage = _url_of(section)
        credentials = credentials or section.get("credentials")
        endpoint, project = endpoint or section.get("endpoint"), project or section.get("project")
        region, account = region or section.get("region"), account or section.get("account")
    location = os.fspath(storage)
    scheme, separator, rest = location.partition("://")
    if not separator:
        return _local(location)
    seconds = _HURRIED_SECONDS if hurried else _PATIENT_SECONDS
    match scheme.lower():
        case "file":
            return _local(unquote(urlsplit(location).path))
        case "memory":
            return Metered(_memory(rest))
        case "gs" | "gcs":
            bare = _gcs(*_bucket(location, rest), credentials, endpoint, project, seconds)
            return _cloud(bare, memory, endpoint, hurried)
        case "s3" | "s3a":
            bare = _s3(*_bucket(location, rest), credentials, endpoint, region, seconds)
            return _cloud(bare, memory, endpoint, hurried)
        case "az" | "abfs":
            bare = _azure(*_bucket(location, rest), credentials, endpoint, account, seconds)
            return _cloud(bare, memory, f"{account or ''} {endpoint or ''}", hurried)
    raise _unknown(scheme, location)


def _url_of(section: Mapping[str, str]) -> str:
    """The URL or path that a `storage:` section means."""
    match section.get("type", "").lower():
        case "local" | "file" | "":
            return _needed(section, "path")
        case "gcloud" | "gcs" | "gs" | "firebase":
            return _bucket_url("gs", section)
        case "s3":
            return _bucket_url("s3", section)
        case "azure" | "az" | "abfs":
            return _bucket_url("az", section)
        case "memory":
            return f"memory://{section.get('name', '')}"
        case kind:
            raise _unknown(kind, f"storage type {kind}")


def _bucket_url(scheme: str, section: Mapping[str, str]) -> str:
    bucket = _needed(section, "bucket").removeprefix(f"{scheme}://").strip("/")
    return f"{scheme}://{bucket}/{section.get('prefix', '')}"


def _needed(section: Mapping[str, str], name: str) -> str:
    if value := section.get(name):
        return value
    kind = section.get("type") or "local"
    message = f"storage of type {kind} needs `{name}:` in the configuration"
    raise UsageError(message)


def _unknown(scheme: str, location: str) -> UsageError:
    return UsageError(f"{location}: no store is known by {scheme!r}; what works: {SCHEMES}")


def _local(path: str) -> Backend:
    from studio_cas.backends.local import LocalBackend

    if not path:
        message = f"the store has no name; what works: {SCHEMES}"
        raise UsageError(message)
    return Metered(LocalBackend(Path(expanded(path))))


def _memory(name: str) -> MemoryBackend:
    """The store `name` of this process, made at its first use."""
    from studio_cas.backends.memory import MemoryBackend

    with _memory_lock:
        return _memory_stores.setdefault(name, MemoryBackend(name))


def _bucket(location: str, rest: str) -> tuple[str, str]:
    """The name of a bucket, and the prefix in it."""
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        scheme = location.partition("://")[0]
        message = f"{scheme}:// needs the name of a bucket: {scheme}://bucket or {scheme}://bucket/prefix"
        raise UsageError(message)
    return bucket, prefix


def _cloud(bare: Backend, memory: Path | None, endpoint: str | None, hurried: bool) -> Backend:  # noqa: FBT001  # passed on
    """A cloud's backend with what all of them need."""
    from studio_cas.backends.probe import Probed
    from studio_cas.backends.retrying import FULL, HURRIED, SHORT, Retrying

    probed = Probed(Metered(bare), memory, endpoint or "")
    return Retrying(probed, HURRIED if hurried else FULL, unmet=HURRIED if hurried else SHORT)


def _gcs(
    bucket: str,
    prefix: str,
    credentials: str | os.PathLike[str] | None,
    endpoint: str | None,
    project: str | None,
    seconds: float,
) -> Backend:
    from studio_cas.backends.gcs import GcsBackend

    file = _file(credentials)
    return GcsBackend(bucket, prefix, credentials=file, endpoint=endpoint, project=project, timeout=seconds)


def _s3(
    bucket: str,
    prefix: str,
    credentials: str | os.PathLike[str] | None,
    endpoint: str | None,
    region: str | None,
    seconds: float,
) -> Backend:
    from importlib.util import find_spec

    from studio_cas.backends.s3 import MISSING, S3Backend

    file = _file(credentials)
    store = S3Backend(bucket, prefix, credentials=file, endpoint=endpoint, region=region, timeout=seconds)
    if find_spec("s3fs") is None:  # asked here: a person wants to know before a script starts
        raise StoreUnavailableError(f"{store.url} {MISSING}")
    return store


def _azure(
    container: str,
    prefix: str,
    credentials: str | os.PathLike[str] | None,
    endpoint: str | None,
    account: str | None,
    seconds: float,
) -> Backend:
    from studio_cas.backends.azure import AzureBackend

    file = _file(credentials)
    return AzureBackend(container, prefix, account=account, credentials=file, endpoint=endpoint, timeout=seconds)


def _file(credentials: str | os.PathLike[str] | None) -> Path | None:
    return Path(expanded(os.fspath(credentials))) if credentials else None
