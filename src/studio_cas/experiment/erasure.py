"""Removing a whole experiment, or one attempt of it: records and versions. The data are left to the collector.

Versions go first, so that none is left without the record that explains it; what was asked for, and the end, go last,
so that a removal that was interrupted can be seen, and called again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import ConflictError, NotFoundError, PermissionDeniedError
from studio_cas.experiment import records
from studio_cas.experiment.lifecycle import Status
from studio_cas.experiment.runs import THREADS, attempt_number
from studio_cas.experiment.states import states
from studio_cas.formats import experiment as formats
from studio_cas.formats import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from studio_cas.backends.base import Backend
    from studio_cas.experiment.lifecycle import Attempt
    from studio_cas.experiment.runs import RunName
    from studio_cas.experiment.states import Span
    from studio_cas.store.store import Store

ALIVE = frozenset({Status.WAITING, Status.RUNNING})


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to be removed: keys in groups, one after the other. `kept`: versions that another attempt has too."""

    name: str
    versions: tuple[str, ...]
    records: tuple[tuple[str, ...], ...]
    kept: int = 0

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """All groups that have a key."""
        return [group for group in (self.versions, *self.records) if group]


def plan_erasure(store: Store, name: RunName, user: str, now: float, *, force: bool) -> Erasure:
    """What removing `name` removes: an attempt, or the experiment where it names none.

    Raises NotFoundError, and unless `force` ConflictError where it belongs to somebody else, or has not ended.
    """
    backend = store.backend
    attempts = _attempts(backend, name.experiment, now)
    wanted = list(attempts)
    if name.attempt is not None:
        wanted = [attempt_number(backend, name)]
    if not force:
        check_owner(backend, name.experiment, user)
        _check_ended([attempts[number] for number in wanted if attempts.get(number)])
    if name.attempt is None:
        return _whole(store, name.experiment)
    return _part(store, name.experiment, wanted[0], attempts)


def _attempts(backend: Backend, experiment: str, now: float) -> dict[int, Attempt | None]:
    """All attempts; None for one that is partly removed already."""
    found: dict[int, Attempt | None] = {}
    for number in records.list_attempts(backend, experiment):
        try:
            found[number] = records.read_attempt(backend, experiment, number, now)
        except NotFoundError:
            found[number] = None
    return found


def check_owner(backend: Backend, experiment: str, user: str) -> None:
    """Raises ConflictError where the experiment belongs to somebody else than `user`."""
    owner = records.read_owner(backend, experiment)
    if owner is not None and owner.user != user:
        raise ConflictError(
            f"the experiment {experiment} belongs to {owner.user}, and you are {user}: --force removes it nevertheless"
        )


def _check_ended(attempts: Iterable[Attempt | None]) -> None:
    for attempt in attempts:
        if attempt is not None and attempt.status in ALIVE:
            name = f"{attempt.created.experiment}@{attempt.created.attempt}"
            raise ConflictError(f"{name} is {attempt.status}: studio runs stop {name} first, or remove it with --force")


def _whole(store: Store, experiment: str) -> Erasure:
    backend = store.backend
    versions = [found.key for found in backend.list(f"{keys.VERSIONS}{experiment}/")]
    kept = [found.key for found in backend.list(f"{keys.EXPERIMENTS}{experiment}/")]
    if not versions and not kept:
        raise NotFoundError(f"there is no experiment {experiment!r}: studio runs list names those there are")
    return Erasure(experiment, tuple(versions), _grouped(kept))


def _part(store: Store, experiment: str, number: int, attempts: dict[int, Attempt | None]) -> Erasure:
    numbers = list(attempts)
    spans = {}
    for position, other in enumerate(numbers):
        attempt = attempts[other]
        if attempt is not None:
            later = (attempts[after] for after in numbers[position + 1 :])
            following = next((one.created.time for one in later if one is not None), None)
            spans[other] = states(store, attempt, following)
    mine = _covered(spans.pop(number, {}))
    others = set().union(*map(_covered, spans.values())) if spans else set()
    existing = [key for tag in {tag for tag, _ in mine} for key in _version_keys(store, experiment, tag)]
    doomed = {keys.version(experiment, tag, at) for tag, at in mine - others}
    prefix = formats.attempt_key(experiment, number, "")
    return Erasure(
        f"{experiment}@{number}",
        tuple(key for key in existing if key in doomed),
        _grouped([found.key for found in store.backend.list(prefix)]),
        kept=sum(keys.version(experiment, tag, at) in existing for tag, at in mine & others),
    )


def _covered(spans: Mapping[str, Span]) -> set[tuple[str, int]]:
    """Tag and number of every version between the first and the last state."""
    return {(tag, at) for tag, (first, last) in spans.items() for at in range(first, last + 1)}


def _version_keys(store: Store, experiment: str, tag: str) -> list[str]:
    return [found.key for found in store.backend.list(keys.versions(experiment, tag))]


def _grouped(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """What was asked for, how it ended, and who owns it, go last."""
    groups: dict[str, list[str]] = {"": [], "created": [], "ended": [], "owner": []}
    for key in names:
        record = key.rsplit("/", 1)[1]
        groups[record if record in groups else ""].append(key)
    return tuple(map(tuple, groups.values()))


def erase(backend: Backend, erasure: Erasure) -> None:
    """Remove it all. Raises PermissionDeniedError, in a sentence that says whether something was removed."""
    removed: list[str] = []

    def delete(key: str) -> None:
        try:
            backend.delete(key)
        except NotFoundError:  # somebody else removes it too
            return
        except PermissionDeniedError as error:
            so_far = ", but for a part of it" if removed else ", and nothing was"
            raise PermissionDeniedError(
                f"{erasure.name} could not be removed{so_far}: {error}; it takes a credential that may delete"
            ) from error
        removed.append(key)

    with ThreadPoolExecutor(THREADS) as pool:
        for group in erasure.groups:
            alone = 0 if removed else 1
            if alone:
                delete(group[0])  # a credential that may not delete is noticed before anything is gone
            for _ in pool.map(delete, group[alone:]):
                pass
