"""Copy an artifact, an experiment, or all of a store to another store, version by version, then records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError, NotFoundError, UsageError
from studio_cas.formats import keys
from studio_cas.moving.copying import CopiedVersion, copy_version
from studio_cas.moving.copying_records import copy_attempts, copy_owner
from studio_cas.store import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from studio_cas.formats.spec import Spec
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Scope:
    """What to copy of an experiment: one artifact (`spec`), or all of them and the records of its runs.

    `every`: all versions, and not only the latest or the one that is named.
    """

    experiment: str
    spec: Spec | None = None
    every: bool = False


@dataclass(slots=True)
class CopyReport:
    """What was done. `records`: how many records of runs were created."""

    versions: list[CopiedVersion] = field(default_factory=list)
    records: int = 0


def copy_scope(
    source: Store,
    target: Store,
    scope: Scope,
    *,
    join: bool = False,
    progress: Progress | None = None,
    tell: Callable[[CopiedVersion], None] = lambda _: None,
) -> CopyReport:
    """Copy `scope`, versions the oldest first; `tell` hears of each as it is done. A damaged one is passed over.

    Raises ConflictError where the experiment belongs to somebody else in the target, and what the stores raise.
    """
    check_stores(source, target)
    report = CopyReport()
    if scope.spec is not None:  # first: whether there is what was asked for
        versions.resolve_spec(source, scope.spec)
    copy_owner(source.backend, target.backend, scope.experiment, join=join)
    for tag, number in wanted_versions(source, scope):
        try:
            version = versions.read(source, scope.experiment, tag, number)
            copied = copy_version(source, target, version, progress)
        except NotFoundError:  # it was removed
            continue
        except CorruptError as error:
            copied = CopiedVersion(scope.experiment, tag, number, "failed", reason=str(error))
        report.versions.append(copied)
        tell(copied)
    if scope.spec is None:
        numbers = {
            (one.tag, one.source_number): one.number
            for one in report.versions
            if one.number and one.number != one.source_number
        }
        report.records = copy_attempts(source.backend, target.backend, scope.experiment, numbers)
    return report


def check_stores(source: Store, target: Store | None) -> None:
    """Raises UsageError where both are the same."""
    if target is not None and source.config.store_id == target.config.store_id:
        raise UsageError(f"{target.url} is the store that is copied from: name another one")


def wanted_versions(source: Store, scope: Scope) -> Iterator[tuple[str, int]]:
    """Tags and numbers of versions, the oldest of a tag first."""
    if scope.spec is not None and not scope.every:
        yield scope.spec.tag, versions.resolve_spec(source, scope.spec).number
        return
    tags = [scope.spec.tag] if scope.spec is not None else versions.list_tags(source, scope.experiment)
    for tag in tags:
        if not scope.every:
            newest = versions.latest(source, scope.experiment, tag)
            yield from [(tag, newest.number)] if newest else []
            continue
        found = source.backend.list(keys.versions(scope.experiment, tag))
        numbers = [keys.version_number(one.key) for one in found]
        yield from ((tag, number) for number in reversed(numbers))
