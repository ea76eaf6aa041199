"""Which versions an attempt left: for each artifact, the one of its first state and the one of its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.experiment.artifacts import OUTPUT
from studio_cas.formats import keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from studio_cas.experiment.lifecycle import Attempt
    from studio_cas.formats.experiment import Created
    from studio_cas.store.store import Store

FIRST_CAPTURES = 20.0  # seconds after the start of a script in which its first captures are made

Span = tuple[int, int]


def states(store: Store, attempt: Attempt, next_created: float | None = None) -> Mapping[str, Span]:
    """Tag to the versions of the first and the last state in `attempt`; a tag with no version is missing.

    The end of a run records them. Of one that goes on, or that was lost, they follow from the times of the versions;
    `next_created` is when the attempt after it began.
    """
    if attempt.ended is not None and attempt.ended.versions:
        return attempt.ended.versions
    found = {}
    for tag in captured_tags(attempt.created):
        span = _by_time(store, tag, attempt, next_created)
        if span is not None:
            found[tag] = span
    return found


def last_state(store: Store, tag: str, attempt: Attempt, next_created: float | None = None) -> int | None:
    """The version of the last state of one artifact, None where it has none; cheap, to be asked again and again."""
    if attempt.ended is not None and attempt.ended.versions:
        return attempt.ended.versions.get(tag, (0, None))[1]
    limit = 1 if next_created is None else None
    for found in store.backend.list(keys.versions(attempt.created.experiment, tag), limit=limit):
        if next_created is None or found.created < next_created:
            return keys.version_number(found.key)
    return None


def captured_tags(created: Created) -> Sequence[str]:
    """The tags of what is captured, whether it has a version or not."""
    tags = [artifact.tag for artifact in created.artifacts if artifact.reuse is None]
    taken = {artifact.tag for artifact in created.artifacts}
    return [*tags, OUTPUT] if OUTPUT in created.defaults and OUTPUT not in taken else tags


def _by_time(store: Store, tag: str, attempt: Attempt, next_created: float | None) -> Span | None:
    """The newest version at the start, or else the first after it; and the newest one before the next attempt."""
    created = attempt.created
    began = (attempt.started.time if attempt.started else created.time) + FIRST_CAPTURES
    first = last = None
    for found in store.backend.list(keys.versions(created.experiment, tag)):  # the newest first
        if next_created is not None and found.created >= next_created:
            continue
        number = keys.version_number(found.key)
        last = number if last is None else last
        first = number
        if found.created <= began:
            break
    return None if first is None or last is None else (first, last)
