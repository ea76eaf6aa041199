"""`studio diff`: what changed between two versions, or between a version and a folder of this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import local_path, whole_artifact
from studio_cas.cli.records import change_line, change_record
from studio_cas.cli.rendering import print_json_list
from studio_cas.cli.session import session_of
from studio_cas.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from studio_cas.store.store import Store
    from studio_cas.worktree.materialise import Change

app = new_app()
FOLDER_SIGNS = (".", "/", "~")
WAY_BACK: dict[str, Literal["added", "removed", "changed"]] = {
    "added": "removed",
    "removed": "added",
    "changed": "changed",
}


@app.command(epilog="Example: studio diff my_run/weights@1 my_run/weights")
def diff(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="EXP/TAG[@VERSION].")],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="EXP/TAG[@VERSION], or a folder, written with . or / or ~ before it.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Show what changed between two versions, or a version and a folder: + added, - removed, ~ changed."""
    if old.startswith(FOLDER_SIGNS):
        raise UsageError(f"a folder can only be the second: studio diff {new} {old}")
    compare = (
        _against_folder(old, local_path(new, "NEW")) if new.startswith(FOLDER_SIGNS) else _against_version(old, new)
    )
    with session_of(ctx).open_store() as store:
        changes = compare(store)
        if as_json:
            print_json_list(map(change_record, changes))
            return
        for change in changes:
            print(change_line(change))


def _against_version(old: str, new: str) -> Callable[[Store], Iterable[Change]]:
    from studio_cas.store.versions import resolve_spec
    from studio_cas.worktree.diff import diff as compare

    before, after = whole_artifact(old, "diff"), whole_artifact(new, "diff")
    return lambda store: compare(store, resolve_spec(store, before), resolve_spec(store, after))


def _against_folder(old: str, folder: Path) -> Callable[[Store], Iterable[Change]]:
    """What a pull into the folder would do, the other way round; nothing is written."""
    from studio_cas.formats.spec import parse_spec
    from studio_cas.store.versions import resolve_spec
    from studio_cas.worktree.materialise import materialise

    spec = parse_spec(old)
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}: check the path")

    def compare(store: Store) -> Iterator[Change]:
        version = resolve_spec(store, spec)
        result = materialise(store, version, folder, path=spec.path, force=True, dry_run=True)
        ignored = _ignored_in(folder)
        for change in result.changes:
            turned = _turned(change)
            if turned.kind != "added" or not ignored(turned.path):
                yield turned

    return compare


def _turned(change: Change) -> Change:
    """The way back of a change."""
    return replace(change, kind=WAY_BACK[change.kind], old_size=change.new_size, new_size=change.old_size)


def _ignored_in(folder: Path) -> Callable[[bytes], bool]:
    """Whether a capture of the folder would leave a path out."""
    from studio_cas.worktree.ignore import matcher

    matches = matcher(folder)

    def ignored(path: bytes) -> bool:
        if matches is None:
            return False
        parts = path.split(b"/")
        parents = (b"/".join(parts[:count]) for count in range(1, len(parts)))
        return matches(path, False) or matches(path, True) or any(matches(parent, True) for parent in parents)

    return ignored
