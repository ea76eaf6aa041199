"""What `studio doctor` looks at, one function a subject; each gives findings, and raises nothing on purpose."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from studio_cas.cli.rendering import size
from studio_cas.errors import NotFoundError, OverwritesError, PermissionDeniedError, StudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.backends.base import Backend
    from studio_cas.config import Config, Storage

    State = Literal["ok", "warn", "fail"]

GIB = 1 << 30
SKEW_LIMIT = 30.0  # seconds; versions carry this machine's time, and people compare them between machines
WATCHES = 65536  # a workspace of that many folders can be watched
PACKAGES = ("blake3", "gcsfs", "numpy", "pyfastcdc", "watchdog", "zstandard")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, and what to do where it is not well."""

    subject: str
    state: State
    text: str
    advice: str = ""


def check_versions() -> Iterator[Finding]:
    """Python, this package, and the packages that do the heavy work."""
    from importlib.metadata import PackageNotFoundError, version

    yield Finding("python", "ok", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    missing = []
    found = [f"studio-cas {version('studio-cas')}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding("packages", "fail", f"not installed: {', '.join(missing)}", "install studio-cas again")


def check_home(home: Path) -> Iterator[Finding]:
    """Can the home be written, and is there room in it?"""
    nearest = home
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("home", "fail", f"{nearest} cannot be written", "set STUDIOML_HOME to a folder that can")
        return
    yield Finding("home", "ok", str(home) + ("" if home.exists() else ", not made yet"))
    free = shutil.disk_usage(nearest).free
    state: State = "ok" if free >= 5 * GIB else "warn" if free >= GIB // 2 else "fail"
    advice = "" if state == "ok" else "make room: studio cache clean, or set STUDIOML_HOME to another disk"
    yield Finding("disk space", state, f"{size(free)} free at {nearest}", advice)


def check_credentials(storage: Storage) -> Iterator[Finding]:
    """Who are we to the store?"""
    if storage.folder is not None:
        yield Finding("credentials", "ok", "none needed: the store is a folder")
    elif not storage.url.startswith("gs://"):
        yield Finding("credentials", "ok", f"not looked at for {storage.url}")
    elif os.environ.get("STORAGE_EMULATOR_HOST"):
        yield Finding("credentials", "ok", f"none needed: STORAGE_EMULATOR_HOST={os.environ['STORAGE_EMULATOR_HOST']}")
    elif storage.credentials is not None:
        yield _check_key_file(storage.credentials)
    else:
        yield _check_default_credentials()


def _check_key_file(path: Path) -> Finding:
    import json

    try:
        account = json.loads(path.read_text(encoding="utf-8"))
        return Finding("credentials", "ok", f"{account.get('type')} {account.get('client_email', '')} from {path}")
    except (OSError, ValueError, AttributeError) as error:
        advice = "download the key of a service account as JSON, and name it at storage.credentials"
        return Finding("credentials", "fail", f"{path} holds no credentials: {error}", advice)


def _check_default_credentials() -> Finding:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        credentials, _ = google.auth.default()  # type: ignore[no-untyped-call,unused-ignore]
    except DefaultCredentialsError:
        advice = "run gcloud auth application-default login, or name a key file at storage.credentials"
        return Finding("credentials", "fail", "no application default credentials", advice)
    return Finding("credentials", "ok", f"application default ({type(credentials).__module__.rsplit('.', 1)[-1]})")


def check_store(config: Config, *, write_test: bool) -> Iterator[Finding]:
    """Does the store answer, and, with `write_test`, does it let us create and read?"""
    from studio_cas.config import backend_of

    try:
        backend = backend_of(config.storage)
    except StudioError as error:
        yield Finding("store", "fail", str(error))
        return
    try:
        if write_test:
            backend.prepare()
        yield _check_reachable(backend)
        if write_test:
            yield from _check_writing(backend)
        else:
            yield Finding("permissions", "ok", "not tested: --write-test creates a small object, and reads it")
    except OverwritesError as error:
        yield Finding("overwriting", "fail", str(error), "use a newer version of the service, or another one")
    except StudioError as error:
        advice = "check its name, the network and the credentials; --write-test makes a missing bucket, as a push does"
        yield Finding("store", "fail", f"{backend.url}: {error}", advice)
    finally:
        backend.close()


def _check_reachable(backend: Backend) -> Finding:
    from studio_cas.formats import keys, store_config

    try:
        began = time.monotonic()
        found = store_config.decode(bytes(backend.read(keys.FORMAT)))
        took = time.monotonic() - began
    except NotFoundError:
        advice = "the first studio push or studio run makes it; if there should be one, check the address"
        return Finding("store", "warn", f"no store at {backend.url} yet", advice)
    return Finding("store", "ok", f"{backend.url}, id {found.store_id[:12]}, answered in {took * 1000:.0f} ms")


def _check_writing(backend: Backend) -> Iterator[Finding]:
    from studio_cas.backends.probe import TRIALS

    key, content = f"{TRIALS}{secrets.token_hex(16)}", secrets.token_bytes(64)
    before = time.time()
    backend.create(key, [content])  # the first create in a cloud tries out whether it overwrites
    after = time.time()
    if bytes(backend.read(key)) != content:
        yield Finding("permissions", "fail", f"{key} did not come back as it was written", "do not use this store")
        return
    created = backend.stat(key).created
    yield Finding("overwriting", "ok", "what exists is not overwritten")
    try:
        backend.delete(key)
        yield Finding("permissions", "ok", "can create, read and delete (delete is needed for rm and gc only)")
    except PermissionDeniedError:
        yield Finding("permissions", "ok", f"can create and read, and may not delete: {key} (64 bytes) stays")
    skew = max(before - created, created - after, 0.0)
    state: State = "ok" if skew <= SKEW_LIMIT else "warn"
    yield Finding("clock", state, f"{skew:.0f} s off the store's", "" if state == "ok" else "set this machine's clock")


def check_system() -> Iterator[Finding]:
    """Limits of the operating system that captures depend on."""
    if not sys.platform.startswith("linux"):
        return
    watches = _read_number("/proc/sys/fs/inotify/max_user_watches")
    if watches is not None:
        state: State = "ok" if watches >= WATCHES else "warn"
        advice = (
            "" if state == "ok" else f"sysctl fs.inotify.max_user_watches={WATCHES * 8}; else changes are seen later"
        )
        yield Finding("inotify", state, f"{watches:,} watches", advice)
    leases = _read_number("/proc/sys/fs/leases-enable")
    if leases == 0:
        advice = "sysctl fs.leases-enable=1; else a file that is being written is told by waiting"
        yield Finding("file leases", "warn", "switched off", advice)
    elif leases is not None:
        yield Finding("file leases", "ok", "on")
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    many = files == resource.RLIM_INFINITY or files >= 1024
    yield Finding("open files", "ok" if many else "warn", f"at most {files:,}", "" if many else "ulimit -n 4096")


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
