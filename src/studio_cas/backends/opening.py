"""From a URL, a path or a `storage:` section of the configuration to a backend with its decorators."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from studio_cas.backends.metered import Metered
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend
    from studio_cas.backends.memory import MemoryBackend

SCHEMES: Final = "a folder's path, file:///folder, gs://bucket/prefix, or memory://name"
_memory_stores: Final[dict[str, MemoryBackend]] = {}
_memory_lock: Final = threading.Lock()


def open_backend(
    storage: str | os.PathLike[str] | Mapping[str, object],
    *,
    credentials: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    project: str | None = None,
) -> Backend:
    """Open the store that `storage` names; no request is made, and no folder.

    `storage` is a path, a URL, or a mapping as in the configuration: `type` (local, gcloud, firebase, memory), then
    `path` or `bucket` and `prefix`, and `credentials`, `endpoint`, `project`. `credentials` is the file of a service
    account; without it, application default credentials are taken. Raises UsageError when it names no store.
    """
    if isinstance(storage, Mapping):
        section = {name: str(value) for name, value in storage.items() if value is not None}
        storage = _url_of(section)
        credentials = credentials or section.get("credentials")
        endpoint, project = endpoint or section.get("endpoint"), project or section.get("project")
    location = os.fspath(storage)
    scheme, separator, rest = location.partition("://")
    if not separator:
        return _local(location)
    match scheme.lower():
        case "file":
            return _local(unquote(urlsplit(location).path))
        case "memory":
            return Metered(_memory(rest))
        case "gs" | "gcs":
            return _gcs(rest, credentials, endpoint, project)
    raise _unknown(scheme, location)


def _url_of(section: Mapping[str, str]) -> str:
    """The URL or path that a `storage:` section means."""
    match section.get("type", "").lower():
        case "local" | "file" | "":
            return _needed(section, "path")
        case "gcloud" | "gcs" | "gs" | "firebase":
            bucket = _needed(section, "bucket").removeprefix("gs://").strip("/")
            return f"gs://{bucket}/{section.get('prefix', '')}"
        case "memory":
            return f"memory://{section.get('name', '')}"
        case kind:
            raise _unknown(kind, f"storage type {kind}")


def _needed(section: Mapping[str, str], name: str) -> str:
    if value := section.get(name):
        return value
    kind = section.get("type") or "local"
    message = f"storage of type {kind} needs `{name}:` in the configuration"
    raise UsageError(message)


def _unknown(scheme: str, location: str) -> UsageError:
    if scheme.lower() in {"s3", "s3a"}:
        return UsageError(f"{location}: S3 is not supported yet, it is planned as an extra; what works: {SCHEMES}")
    return UsageError(f"{location}: no store is known by {scheme!r}; what works: {SCHEMES}")


def _local(path: str) -> Backend:
    from studio_cas.backends.local import LocalBackend

    if not path:
        message = f"the store has no name; what works: {SCHEMES}"
        raise UsageError(message)
    return Metered(LocalBackend(Path(path).expanduser()))


def _memory(name: str) -> MemoryBackend:
    """The store `name` of this process, made at its first use."""
    from studio_cas.backends.memory import MemoryBackend

    with _memory_lock:
        return _memory_stores.setdefault(name, MemoryBackend(name))


def _gcs(rest: str, credentials: str | os.PathLike[str] | None, endpoint: str | None, project: str | None) -> Backend:
    from studio_cas.backends.gcs import GcsBackend
    from studio_cas.backends.retrying import Retrying

    bucket, _, prefix = rest.partition("/")
    if not bucket:
        message = "gs:// needs the name of a bucket: gs://bucket or gs://bucket/prefix"
        raise UsageError(message)
    file = Path(credentials).expanduser() if credentials else None
    return Retrying(Metered(GcsBackend(bucket, prefix, credentials=file, endpoint=endpoint, project=project)))
