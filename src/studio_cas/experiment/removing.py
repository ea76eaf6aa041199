"""Removing single versions, or an artifact with all of them. The data are left to the collector.

A number is used once: where the newest version goes and older ones stay, a mark takes its place, so that the next
capture gets the number after it. An artifact that is removed as a whole leaves nothing, and begins at 1 again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError, CorruptError, NotFoundError, ObjectExistsError
from studio_cas.experiment.erasure import Erasure, check_owner, erase
from studio_cas.experiment.runs import THREADS, run_name
from studio_cas.formats import experiment as formats
from studio_cas.formats import keys, version
from studio_cas.store import versions
from studio_cas.store.heads import forget_removed

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend
    from studio_cas.formats.experiment import Created
    from studio_cas.formats.spec import Spec
    from studio_cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be removed: version records by key, the newest first. `reused_by`: names of runs that read them."""

    name: str
    experiment: str
    tag: str
    keys: tuple[str, ...]
    reused_by: tuple[str, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the versions."""
        return tuple(map(keys.version_number, self.keys))


def plan_removal(store: Store, spec: Spec, user: str, *, force: bool) -> Removal:
    """What removing `spec` removes: one version, or the artifact where it names none. No record has to be readable.

    Raises NotFoundError; unless `force`, ConflictError where it belongs to somebody else, or a run reuses it.
    """
    found = _found(store, spec)
    if not force:
        check_owner(store.backend, spec.experiment, user)
    numbers = set(map(keys.version_number, found))
    reused = _reused_by(store.backend, spec, numbers)
    artifact = f"{spec.experiment}/{spec.tag}"
    name = artifact if spec.version is None else f"{artifact}@{min(numbers)}"
    if reused and not force:
        runs = ", ".join(reused[:5]) + (f" and {len(reused) - 5} more" if len(reused) > 5 else "")
        raise ConflictError(f"{name} is reused by {runs}, which could not be repeated: --force removes it nevertheless")
    return Removal(name, spec.experiment, spec.tag, found, reused)


def _found(store: Store, spec: Spec) -> tuple[str, ...]:
    """The keys of the records, or of marks in their place where the whole artifact goes."""
    if spec.version is None:
        if found := [one.key for one in store.backend.list(keys.versions(spec.experiment, spec.tag))]:
            return tuple(found)
        versions.resolve_spec(store, spec)  # says what there is instead
    if spec.version is not None and spec.version.isdecimal() and len(spec.version) < versions.SHORTEST_PREFIX:
        key = keys.version(spec.experiment, spec.tag, int(spec.version))
        with suppress(NotFoundError):
            if not version.is_removal_mark(store.backend.read(key)):
                return (key,)
    made = versions.resolve_spec(store, spec)
    return (keys.version(made.experiment, made.tag, made.number),)


def _reused_by(backend: Backend, spec: Spec, numbers: set[int]) -> tuple[str, ...]:
    """The attempts that read one of these versions as an artifact of theirs; a read for each attempt in the store."""

    def read(key: str) -> Created | None:
        try:
            return formats.decode_created(bytes(backend.read(key)))
        except (NotFoundError, CorruptError):
            return None

    listed = [found.key for found in backend.list(keys.EXPERIMENTS) if found.key.endswith("/created")]
    with ThreadPoolExecutor(THREADS, "reuse") as pool:
        attempts = [created for created in pool.map(read, listed) if created]
    return tuple(
        run_name(created)
        for created in attempts
        if any(
            (one.reuse.experiment, one.reuse.tag) == (spec.experiment, spec.tag) and one.reuse.number in numbers
            for one in created.artifacts
            if one.reuse
        )
    )


def remove(store: Store, removal: Removal, user: str, now: float) -> None:
    """Remove it; `now` in seconds since the epoch. Raises PermissionDeniedError, which says whether anything went."""
    backend = store.backend
    erase(backend, Erasure(removal.name, removal.keys, ()))
    forget_removed(store, removal.keys)
    prefix = keys.versions(removal.experiment, removal.tag)
    left = next(backend.list(prefix, limit=1), None)
    if left is None:
        return
    if _is_bare(store, removal):
        for found in list(backend.list(prefix)):
            with suppress(NotFoundError):
                if version.is_removal_mark(backend.read(found.key)):  # else a capture made it just now
                    backend.delete(found.key)
    elif left.key > removal.keys[0]:
        with suppress(ObjectExistsError):  # a capture took the number just now
            backend.create(removal.keys[0], [version.removal_mark(removal.numbers[0], user, now)])


def _is_bare(store: Store, removal: Removal) -> bool:
    """Whether the artifact has no version any more."""
    try:
        return versions.latest(store, removal.experiment, removal.tag) is None
    except CorruptError:
        return False  # one that is damaged is one
