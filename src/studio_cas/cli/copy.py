"""`studio copy`: artifacts and experiments, to another store."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import find_tags, local_path, parse_scope
from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.rendering import counted, print_json, printable, size
from studio_cas.cli.session import session_of
from studio_cas.errors import (
    ConflictError,
    CorruptError,
    NotFoundError,
    PermissionDeniedError,
    StoreUnavailableError,
    TransientError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.config import Config
    from studio_cas.config.settings import Storage
    from studio_cas.moving.copying import CopiedVersion
    from studio_cas.moving.mirroring import Scope
    from studio_cas.store.store import Store

app = new_app()


@app.command(epilog="Example: studio copy my_run gs://team-bucket/studio --all-versions")
def copy(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="EXP[/TAG[@VERSION]]", help="What to copy; with --mirror, STORE_URL stands here.")
    ],
    where: Annotated[
        str | None, typer.Argument(metavar="STORE_URL", help="The store that gets it, a URL or a folder.")
    ] = None,
    every: Annotated[bool, typer.Option("--all-versions", help="Every version, not only the latest.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="All experiments, with all versions and records.")] = False,
    join: Annotated[bool, typer.Option("--join", help="Also where another user owns the experiment there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be copied, and copy nothing.")] = False,
    credentials: Annotated[
        str | None, typer.Option(metavar="FILE", help="Credentials for STORE_URL; else as for the store.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Copy artifacts and experiments to another store: only data that it lacks, all of it verified.

    Versions keep their manifest ids, times, and numbers where those are free. Nothing there is replaced, and what was
    interrupted continues when it is started again.
    """
    if mirror and where is not None:
        raise UsageError("--mirror copies everything: write studio copy --mirror STORE_URL")
    if not mirror and where is None:
        raise UsageError(f"where to? write studio copy {what} STORE_URL")
    from studio_cas.config.opening import open_storage

    config = session_of(ctx).configuration()
    with session_of(ctx).open_store() as source:
        scopes = _everything(source) if mirror else [_scope(source, what, every=every)]
        url = where if where is not None else what
        if dry_run:
            record = _foresee(
                source, _target_of(config, url, credentials), config.home, scopes, join=join, quiet=as_json
            )
        else:
            with open_storage(_target_of(config, url, credentials), config.home) as target:
                record = _copy(source, target, scopes, join=join, quiet=as_json)
    return _end(record, as_json=as_json)


def _scope(source: Store, name: str, *, every: bool) -> Scope:
    from studio_cas.moving.mirroring import Scope

    experiment, spec = parse_scope(name)
    if spec is None:
        find_tags(source, experiment)
    elif spec.path:
        raise UsageError(f"{name!r} names a path: copy takes whole artifacts, EXP/TAG or EXP/TAG@VERSION")
    elif every and spec.version is not None:
        raise UsageError(f"{name!r} names one version, and --all-versions all of them")
    return Scope(experiment, spec, every)


def _everything(source: Store) -> list[Scope]:
    from studio_cas.moving.mirroring import Scope
    from studio_cas.store.versions import list_experiments

    return [Scope(name, every=True) for name in list_experiments(source)]


def _target_of(config: Config, url: str, credentials: str | None) -> Storage:
    from studio_cas.config.storage import storage_beside

    file = local_path(credentials, "--credentials") if credentials is not None else None
    return storage_beside(url, config.storage, file)


def _copy(source: Store, target: Store, scopes: list[Scope], *, join: bool, quiet: bool) -> dict[str, Any]:
    """Copy scope by scope; what was done, as JSON shows it."""
    from studio_cas.moving.mirroring import copy_scope

    versions: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    records = 0

    def tell(copied: CopiedVersion) -> None:
        versions.append(_record(copied))
        _say(copied, quiet=quiet)

    for scope in scopes:
        with _refusals(scope, scopes, refused):
            records += copy_scope(source, target, scope, join=join, progress=progress_bar(), tell=tell).records
    return {"store": target.url, "versions": versions, "records": records, "refused": refused}


def _foresee(
    source: Store, storage: Storage, home: Path, scopes: list[Scope], *, join: bool, quiet: bool
) -> dict[str, Any]:
    """What `_copy` would do, as JSON shows it; nothing is written, and no store made."""
    from studio_cas.moving.foreseeing import Forecast, foresee_scope

    versions: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    forecast = Forecast()

    def tell(found: CopiedVersion) -> None:
        versions.append(_record(found))
        _say(found, quiet=quiet)

    with _open_if_there(storage, home) as target:
        for scope in scopes:
            with _refusals(scope, scopes, refused):
                foresee_scope(source, target, scope, forecast, join=join, tell=tell)
    told = {"dry_run": True, "stored": forecast.data.stored, "packs": forecast.data.packs}
    return {"store": storage.url, "versions": versions, "records": forecast.records, "refused": refused, **told}


@contextmanager
def _open_if_there(storage: Storage, home: Path) -> Iterator[Store | None]:
    """The store, or None where there is none yet. Raises StoreUnavailableError where that can not be known."""
    from studio_cas.config.opening import open_storage

    try:
        opened = open_storage(storage, home, create=False)
    except StoreUnavailableError as error:
        if isinstance(error, PermissionDeniedError | TransientError):
            raise
        yield None
        return
    except NotFoundError:
        yield None
        return
    with opened:
        yield opened


@contextmanager
def _refusals(scope: Scope, scopes: list[Scope], refused: list[dict[str, str]]) -> Iterator[None]:
    """Where several scopes are copied, one that is refused is told, and the others go on."""
    try:
        yield
    except ConflictError as error:
        if len(scopes) == 1:
            raise
        print(f"studio: {printable(str(error))}", file=sys.stderr)
        refused.append({"experiment": scope.experiment, "reason": str(error)})


def _record(copied: CopiedVersion) -> dict[str, Any]:
    return {
        "experiment": copied.experiment,
        "tag": copied.tag,
        "version": copied.source_number,
        "number": copied.number or None,
        "state": copied.state,
        "size": copied.size,
        "stored": copied.stored,
        "packs": copied.packs,
        "reason": copied.reason or None,
    }


def _say(copied: CopiedVersion, *, quiet: bool) -> None:
    name = f"{copied.experiment}/{copied.tag}@{copied.source_number}"
    if copied.state == "failed":
        print(f"studio: {printable(copied.reason)}", file=sys.stderr)
    elif not quiet and copied.state == "copied":
        number = f" as version {copied.number}" if copied.number != copied.source_number else ""
        print(f"{name}{number}: {size(copied.size)}, stored {size(copied.stored)}")
    elif not quiet and copied.state == "missing":
        print(f"{name}: {size(copied.size)}, {size(copied.stored)} to copy")


def _end(record: dict[str, Any], *, as_json: bool) -> int:
    states = [one["state"] for one in record["versions"]]
    if as_json:
        print_json(record)
    else:
        failed = f", {states.count('failed')} failed" if "failed" in states else ""
        records = f"{counted(record['records'], 'record')} of runs"
        there = f"{states.count('there')} there already{failed}"
        if record.get("dry_run"):
            data = f"{size(record['stored'])} of data, now in {counted(record['packs'], 'pack')}"
            print(f"{counted(states.count('missing'), 'version')} to copy, {there}; {data}; {records}; nothing done")
        else:
            print(f"{counted(states.count('copied'), 'version')} copied, {there}; {records}")
    if "failed" in states:
        return CorruptError.exit_code
    return ConflictError.exit_code if record["refused"] else 0
