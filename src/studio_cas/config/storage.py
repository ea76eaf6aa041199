"""The key `storage`: a URL, a path, or the original's mapping, turned into a Storage."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.backends.tilde import expanded
from studio_cas.config.settings import Storage
from studio_cas.config.spelling import check_keys, did_you_mean
from studio_cas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("type", "bucket", "credentials", "endpoint", "prefix", "project", "region", "account", "path")
FIREBASE_KEYS = (
    "apiKey",
    "authDomain",
    "databaseURL",
    "storageBucket",
    "messagingSenderId",
    "projectId",
    "serviceAccount",
)
UNUSED_KEYS = ("authentication", "guest", "serverUrl", *FIREBASE_KEYS)  # the original's; its login has no place here
TYPES = ("gcloud", "firebase", "s3", "azure", "local")
_TYPE_OF_WORD = {"gs": "gcloud", "gcs": "gcloud", "file": "local", "az": "azure", **{name: name for name in TYPES}}
_SCHEMES = ("gs", "gcs", "s3", "az", "abfs", "file", "memory")
_SCHEME_OF_WORD = {"gcs": "gs", "abfs": "az"}  # other words for the same


def parse_storage(value: object, base: Path, default: Path) -> Storage:
    """The storage that `value` means; relative paths start at `base`; a local store without a path is `default`.

    Raises ConfigError.
    """
    if isinstance(value, str):
        return Storage(_parse_location(value, base))
    if isinstance(value, dict):
        check_keys(value, KEYS, UNUSED_KEYS, "storage")
        return _parse_section(
            {name: _text(name, item) for name, item in value.items() if item is not None}, base, default
        )
    raise ConfigError(
        f"storage: {value!r} is neither a URL nor a mapping: write gs://BUCKET/PREFIX, or {{type: …, bucket: …}}"
    )


def storage_beside(text: str, configured: Storage, credentials: Path | None = None) -> Storage:
    """Another store, at a URL or path. In the cloud of the `configured` one it is reached in the same way.

    With `credentials`, with those. Raises ConfigError.
    """
    url = _parse_location(text, Path.cwd())
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme and configured.url.startswith(f"{scheme}://"):
        return replace(configured, url=url, credentials=credentials or configured.credentials)
    return Storage(url, credentials if scheme else None)


def _text(name: str, item: object) -> str:
    if isinstance(item, str | int | float):
        return str(item)
    raise ConfigError(f"storage.{name}: {item!r} is not a text")


def _parse_location(text: str, base: Path) -> str:
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        if not text.strip():
            raise ConfigError("storage: is empty: write gs://BUCKET/PREFIX or the path of a folder")
        return _absolute(text.strip(), base)
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        raise ConfigError(f"storage: {scheme}:// is not a known kind of store{did_you_mean(scheme, _SCHEMES)}")
    if scheme == "file":
        from urllib.parse import unquote

        return _absolute(unquote(rest), base)
    bucket = rest.strip("/")
    if not bucket:
        raise ConfigError(f"storage: {text!r} names no bucket: write {scheme}://BUCKET or {scheme}://BUCKET/PREFIX")
    return f"{_SCHEME_OF_WORD.get(scheme, scheme)}://{bucket}"


def _parse_section(section: Mapping[str, str], base: Path, default: Path) -> Storage:
    word = section.get("type", "local" if "path" in section else "")
    if not word:
        raise ConfigError(f"storage: has no type: add `type:` and one of {', '.join(TYPES)}")
    kind = _TYPE_OF_WORD.get(word.lower())
    if kind is None:
        raise ConfigError(f"storage.type: {word!r} is not one of {', '.join(TYPES)}{did_you_mean(word, TYPES)}")
    url = _local_path(section, base, default) if kind == "local" else _bucket_url(section, kind)
    credentials = Path(_absolute(section["credentials"], base)) if section.get("credentials") else None
    if kind == "local":
        return Storage(url)
    project = section.get("project") or section.get("projectId")
    return Storage(url, credentials, section.get("endpoint"), project, section.get("region"), section.get("account"))


def _local_path(section: Mapping[str, str], base: Path, default: Path) -> str:
    """`path`; or the original's `endpoint`, a folder, with `bucket`, a folder in it; or the default store."""
    root = section.get("path") or section.get("endpoint")
    if root is None:
        return str(default / section["bucket"]) if section.get("bucket") else str(default)
    folder = _absolute(root, base)
    return str(Path(folder, *filter(None, (section.get("bucket"), section.get("prefix")))))


def _bucket_url(section: Mapping[str, str], kind: str) -> str:
    scheme = {"s3": "s3", "azure": "az"}.get(kind, "gs")
    bucket = (section.get("bucket") or section.get("storageBucket") or "").removeprefix(f"{scheme}://").strip("/")
    if not bucket:
        raise ConfigError(f"storage: type {kind} needs a bucket: add `bucket: NAME`")
    prefix = section.get("prefix", "").strip("/")
    return f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"


def _absolute(path: str, base: Path) -> str:
    return os.path.abspath(base / expanded(path))  # noqa: PTH100  # keeps links, and needs no existing folder
