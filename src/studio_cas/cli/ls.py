"""`studio ls`: experiments, their artifacts, or the files in one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import find_tags, parse_scope
from studio_cas.cli.records import entry_record, version_record
from studio_cas.cli.rendering import age, complain, print_json, print_json_list, print_table, shown, size
from studio_cas.cli.session import session_of
from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from studio_cas.formats.spec import Spec
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store
    from studio_cas.worktree.listing import ListedEntry

app = new_app()
KIND_LETTERS = {"folder": "d", "link": "l"}


@app.command(epilog="Example: studio ls my_run/weights@3")
def ls(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[EXP[/TAG[@VERSION][/PATH]]]", help="Where to look; else at all experiments."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="The files in folders too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> int:
    """List experiments, the artifacts of one, or the files in an artifact.

    Ends with 5 where the record of an artifact is damaged, after all others were listed.
    """
    experiment, spec = parse_scope(name) if name is not None else (None, None)
    with session_of(ctx).open_store() as store:
        if spec is not None:
            _list_files(store, spec, recursive=recursive, as_json=as_json)
        elif experiment is not None:
            return _list_artifacts(store, experiment, as_json=as_json)
        else:
            _list_experiments(store, as_json=as_json)
    return 0


def _list_experiments(store: Store, *, as_json: bool) -> None:
    from studio_cas.store.versions import list_experiments

    names = list_experiments(store)
    if as_json:
        print_json(names)
    else:
        print("".join(f"{shown(name)}\n" for name in names), end="")


def _list_artifacts(store: Store, experiment: str, *, as_json: bool) -> int:
    from studio_cas.store.versions import latest

    found: list[Version] = []
    damaged: list[CorruptError] = []
    for tag in find_tags(store, experiment):
        try:
            newest = latest(store, experiment, tag)
        except CorruptError as error:
            damaged.append(error)
        else:
            found += [newest] if newest else []  # else it was removed just now
    if as_json:
        print_json([version_record(version) for version in found])
    else:
        now = time.time()
        rows = [(v.tag, str(v.number), f"{v.files:,}", size(v.size), age(now - v.time)) for v in found]
        print_table(("TAG", "VERSION", "FILES", "SIZE", "CAPTURED"), rows, right=(1, 2, 3))
    return complain(damaged)


def _list_files(store: Store, spec: Spec, *, recursive: bool, as_json: bool) -> None:
    from studio_cas.store.versions import resolve_spec
    from studio_cas.worktree.listing import entries

    found = entries(store, resolve_spec(store, spec), spec.path)
    listed = found if recursive else _direct_children(found, spec.path)
    if as_json:
        print_json_list(entry_record(entry) for entry in listed)
        return
    for entry in listed:
        print(_line(entry))


def _direct_children(found: Iterable[ListedEntry], path: bytes) -> Iterator[ListedEntry]:
    depth = path.count(b"/") + 1 if path else 0
    return (
        entry for entry in found if entry.path.count(b"/") == depth or (entry.path == path and entry.kind != "folder")
    )


def _line(entry: ListedEntry) -> str:
    letter = KIND_LETTERS.get(entry.kind, "x" if entry.executable else "-")
    amount = size(entry.size) if letter in "x-" else ""
    suffix = "/" if letter == "d" else f" -> {shown(entry.target)}" if letter == "l" else ""
    return f"{letter} {amount:>10}  {shown(entry.path)}{suffix}"
