"""What `studio doctor` looks at in the store: credentials, answers, rights; each function gives findings."""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

from studio_cas.cli.checks import SKEW_LIMIT, Finding
from studio_cas.errors import NotFoundError, OverwritesError, PermissionDeniedError, StudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.backends.base import Backend
    from studio_cas.cli.checks import State
    from studio_cas.config import Config, Storage


def check_credentials(storage: Storage) -> Iterator[Finding]:
    """Who are we to the store?"""
    if storage.folder is not None:
        yield Finding("credentials", "ok", "none needed: the store is a folder")
    elif storage.url.startswith("s3://"):
        yield _check_aws_keys(storage.credentials)
    elif storage.url.startswith("az://"):
        yield _check_azure_account(storage)
    elif not storage.url.startswith("gs://"):
        yield Finding("credentials", "ok", f"not looked at for {storage.url}")
    elif os.environ.get("STORAGE_EMULATOR_HOST"):
        yield Finding("credentials", "ok", f"none needed: STORAGE_EMULATOR_HOST={os.environ['STORAGE_EMULATOR_HOST']}")
    elif storage.credentials is not None:
        yield _check_key_file(storage.credentials)
    else:
        yield _check_default_credentials()


def _check_aws_keys(path: Path | None) -> Finding:
    from studio_cas.backends import s3_credentials

    if path is not None:
        try:
            s3_credentials.load(path)
        except StudioError as error:
            return Finding("credentials", "fail", str(error))
        return Finding("credentials", "ok", f"AWS keys from {path}")
    try:
        found = s3_credentials.found_by()
    except ModuleNotFoundError:
        return Finding("credentials", "fail", "the extra [s3] is missing", "pip install 'studio-cas[s3]'")
    advice = "run aws configure, or name a file of keys at storage.credentials"
    return (
        Finding("credentials", "ok", f"AWS, by {found}")
        if found
        else Finding("credentials", "fail", "no AWS credentials", advice)
    )


def _check_azure_account(storage: Storage) -> Finding:
    from importlib.util import find_spec

    from studio_cas.backends import azure_credentials

    try:
        account = azure_credentials.load(storage.credentials, storage.account, storage.endpoint)
    except StudioError as error:
        return Finding("credentials", "fail", str(error))
    if account.has_expired(time.time()):
        return Finding("credentials", "fail", f"{account.found_in} has expired", "make a new one")
    if account.key is None and not account.sas and (find_spec("azure") is None or find_spec("azure.identity") is None):
        advice = "pip install 'studio-cas[azure]' to log in; or give an account's key, or a SAS token"
        return Finding("credentials", "fail", "no Azure key, and the extra [azure] is missing", advice)
    return Finding("credentials", "ok", f"Azure, account {account.name}, by {account.found_in}")


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


def _check_waiting(config: Config) -> Iterator[Finding]:
    """Does something wait on this machine for the store to come back?"""
    from studio_cas.store.spooled import spool_state

    state = spool_state(config.home, config.storage.url, config.offline_budget)
    for line in state.lines() if state else ():
        yield Finding("waiting", "warn", line, (state.advice if state else None) or "")


def check_store(config: Config, *, write_test: bool) -> Iterator[Finding]:
    """Does the store answer, and, with `write_test`, does it let us create and read?"""
    from studio_cas.config import backend_of

    yield from _check_waiting(config)
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
        yield from _check_rights(backend, write_test=write_test)
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


def _check_rights(backend: Backend, *, write_test: bool) -> Iterator[Finding]:
    """What the credential may do, and what of it nobody needs who runs experiments."""
    from studio_cas.backends.rights import ORDER, rights_of

    rights = rights_of(backend, trial=write_test)
    if rights is None:
        return
    held = ", ".join(right for right in ORDER if right in rights.held) or "nothing"
    if rights.too_many:
        advice = (
            f"not needed to run, push and pull: {', '.join(rights.too_many)}; docs/security.md shows how to give less"
        )
        yield Finding("rights", "warn", held, advice)
    else:
        yield Finding("rights", "ok", held)
