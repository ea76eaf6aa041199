"""Versions: create the next one, list them, and resolve what a person typed."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from datetime import datetime
from itertools import count, islice
from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError, NotFoundError, ObjectExistsError, UsageError
from studio_cas.formats import keys, version
from studio_cas.formats.spec import Spec, parse_spec
from studio_cas.store import signing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import TypeVar

    from studio_cas.backends.base import Backend
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store

    T = TypeVar("T")

SHORTEST_PREFIX = 6
LISTED_NAMES = 20
READ_AHEAD = 16


def read(store: Store, experiment: str, tag: str, number: int) -> Version:
    """Version `number`. Raises NotFoundError."""
    return _read(store, keys.version(experiment, tag, number))


def _read(store: Store, key: str) -> Version:
    """The record under `key`, which says itself of which artifact it is, and which version.

    Raises CorruptError, and NotFoundError also where it was removed, and a mark lies in its place.
    """
    experiment, tag = key.split("/")[1:3]
    name = f"{experiment}/{tag}@{keys.version_number(key)}"
    data = store.backend.read(key)
    if version.is_removal_mark(data):
        raise NotFoundError(f"{name} was removed")
    try:
        found = version.decode(data)
    except CorruptError as error:
        message = f"{name}: {error}"
        raise CorruptError(message) from error
    if found.name != name:
        message = f"{name}: its version record is damaged: it calls itself {found.name}"
        raise CorruptError(message)
    return found


def latest(store: Store, experiment: str, tag: str) -> Version | None:
    """The newest version, or None: one list call and one read, more where the newest was removed."""
    return newest(store, experiment, tag)[0]


def newest(store: Store, experiment: str, tag: str) -> tuple[Version | None, int]:
    """The newest version, see `latest`; and the last number that was used, maybe by one that was removed, or 0."""
    prefix = keys.versions(experiment, tag)
    for found in store.backend.list(prefix, limit=1):
        last = keys.version_number(found.key)
        with suppress(NotFoundError):
            return _read(store, found.key), last
        for other in store.backend.list(prefix):
            with suppress(NotFoundError):
                return _read(store, other.key), last
        return None, last
    return None, 0


def latest_number(store: Store, experiment: str, tag: str) -> int:
    """The number of the newest version, whatever its record holds; 0 where there is none: one list call."""
    for found in store.backend.list(keys.versions(experiment, tag), limit=1):
        return keys.version_number(found.key)
    return 0


def list_versions(
    store: Store,
    experiment: str,
    tag: str,
    limit: int | None = None,
    damaged: Callable[[CorruptError], None] | None = None,
) -> Iterator[Version]:
    """All versions, or `limit` of them, newest first; where a read is a round trip, some are read ahead.

    A damaged record raises CorruptError, or where `damaged` is given, is told to it and left out.
    """

    def found(key: str) -> Version | None:
        try:
            return _read(store, key)
        except CorruptError as error:
            if damaged is None:
                raise
            damaged(error)
            return None

    return (version for version in _each(store, experiment, tag, limit, found) if version is not None)


def list_records(store: Store, experiment: str, tag: str, limit: int | None = None) -> Iterator[tuple[str, bytes]]:
    """The same as keys and bytes, which may be anything."""

    def fetch(key: str) -> tuple[str, bytes]:
        data = bytes(store.backend.read(key))
        if version.is_removal_mark(data):
            raise NotFoundError(key)
        return key, data

    return _each(store, experiment, tag, limit, fetch)


def _each(store: Store, experiment: str, tag: str, limit: int | None, fetch: Callable[[str], T]) -> Iterator[T]:
    """What `fetch` makes of the newest `limit` versions; where some were removed, it takes another listing."""

    def there(key: str) -> list[T]:
        with suppress(NotFoundError):
            return [fetch(key)]
        return []

    if limit is not None and limit < 1:
        return
    prefix = keys.versions(experiment, tag)
    taken = seen = 0
    for listed in (limit, None):
        listing = (found.key for found in store.backend.list(prefix, listed))
        for one in read_ahead(islice(listing, seen, None), there, store.backend):
            seen += 1
            for made in one:
                yield made
                taken += 1
            if taken == limit:
                return
        if limit is None or seen < limit:
            return


def read_ahead(listing: Iterator[str], fetch: Callable[[str], T], backend: Backend) -> Iterator[T]:
    """What is under the keys: first one at a time, as often no more are wanted, then up to READ_AHEAD at once.

    One at a time where a read is no round trip.
    """
    if backend.local:
        yield from map(fetch, listing)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(READ_AHEAD, "versions")
    try:
        flights: deque[Future[T]] = deque()
        for taken in count(1):
            for key in islice(listing, min(READ_AHEAD, taken * taken) - len(flights)):
                flights.append(pool.submit(fetch, key))
            if not flights:
                return
            yield flights.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def list_experiments(store: Store) -> list[str]:
    """The names of all experiments, ascending; what else somebody put there has no name that could be asked for."""
    names = set(store.backend.list_names(keys.EXPERIMENTS)) | set(store.backend.list_names(keys.VERSIONS))
    return sorted(filter(keys.is_name, names))


def list_tags(store: Store, experiment: str) -> list[str]:
    """The tags of an experiment that have a version, ascending; see `list_experiments`."""
    return list(filter(keys.is_name, store.backend.list_names(f"{keys.VERSIONS}{experiment}/")))


def create(
    store: Store,
    number: int,
    record: Callable[[int], Version],
    seal: Callable[[Store, Version, bytes], bytes] = signing.signed,
) -> Version:
    """Create the version record with `number`, or the next free one; `record(number)` makes it.

    `seal` makes of its bytes those that are stored: signed, where this machine has a key. Raises ConfigError where that
    cannot be used.
    """
    while True:
        made = record(number)
        plain = version.encode(made)
        stored = seal(store, made, plain)
        key = keys.version(made.experiment, made.tag, number)
        try:
            store.backend.create(key, [stored])
        except ObjectExistsError:
            number = max(number, latest_number(store, made.experiment, made.tag)) + 1
        else:
            if stored != plain and not store.waits(key):
                signing.remember(store, made, number, stored)
            return made


def resolve(store: Store, text: str) -> Version:
    """The version that `exp/tag`, `exp/tag@7`, `@-1`, `@2026-11-22T10:00` or `@<manifest id prefix>` names.

    A path after the tag is ignored. Raises UsageError, and NotFoundError that names what there is instead.
    """
    return resolve_spec(store, parse_spec(text))


def resolve_spec(store: Store, spec: Spec) -> Version:
    """The version that `spec` names."""
    wanted = spec.version
    if wanted is None or wanted == "latest":
        found = latest(store, spec.experiment, spec.tag)
        if found is None:
            raise NotFoundError(explain_missing(store, spec))
        return found
    last = latest_number(store, spec.experiment, spec.tag)
    if not last:
        raise NotFoundError(explain_missing(store, spec))
    if _is_number(wanted) and len(wanted) < SHORTEST_PREFIX:
        return _numbered(store, spec, int(wanted))
    if wanted.startswith("-") and _is_number(wanted[1:]):
        return _before_latest(store, spec, int(wanted[1:]))
    moment = _moment(wanted)
    matching = list(_candidates(store, spec, moment, wanted))
    if not matching:
        if _is_number(wanted):
            return _numbered(store, spec, int(wanted))
        message = f"{spec.experiment}/{spec.tag} has no version {wanted!r}: `studio log` lists its {last} versions"
        raise NotFoundError(message)
    if moment is None and len({found.manifest_id for found in matching}) > 1:
        message = f"{wanted!r} begins more than one manifest id of {spec.experiment}/{spec.tag}: write more of it"
        raise UsageError(message)
    return matching[0]


def _candidates(store: Store, spec: Spec, moment: float | None, wanted: str) -> Iterator[Version]:
    if moment is None and not _is_prefix(wanted):
        message = (
            f"{wanted!r} is no version: write a number, -1 for the one before the latest, "
            "a time like 2026-11-22T10:00, or at least 6 digits of a manifest id"
        )
        raise UsageError(message)
    for found in list_versions(store, spec.experiment, spec.tag):
        if moment is None:
            if found.manifest_id.hex().startswith(wanted.lower()):
                yield found
        elif found.time <= moment:
            yield found
            return


def _numbered(store: Store, spec: Spec, number: int) -> Version:
    with suppress(NotFoundError):
        if number > 0:
            return read(store, spec.experiment, spec.tag, number)
    there = [keys.version_number(key) for key, _ in list_records(store, spec.experiment, spec.tag, 1)]
    message = f"{spec.experiment}/{spec.tag} has no version {number}: the latest is {there[0] if there else 'gone'}"
    raise NotFoundError(message)


def _before_latest(store: Store, spec: Spec, count: int) -> Version:
    """The version that `count` others came after; a damaged one counts as well."""
    found = [key for key, _ in list_records(store, spec.experiment, spec.tag, count + 1)]
    if len(found) <= count:
        raise NotFoundError(f"{spec.experiment}/{spec.tag} has no version -{count}: it has {len(found)} in all")
    return _read(store, found[count])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < keys.NUMBER_DIGITS


def _is_prefix(text: str) -> bool:
    return len(text) >= SHORTEST_PREFIX and all(letter in "0123456789abcdefABCDEF" for letter in text)


def _moment(text: str) -> float | None:
    """Seconds since the epoch; a time without a zone is local."""
    if "-" not in text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def explain_missing(store: Store, spec: Spec) -> str:
    """What to say where the artifact has no version: what there is instead."""
    tags = list_tags(store, spec.experiment)
    if tags:
        return f"experiment {spec.experiment!r} has no artifact {spec.tag!r}; it has: {_named(tags, spec.tag)}"
    experiments = list_experiments(store)
    if spec.experiment in experiments:
        return f"experiment {spec.experiment!r} has no artifacts yet"
    if not experiments:
        return f"there is no experiment {spec.experiment!r}: the store {store.url} is empty"
    return f"there is no experiment {spec.experiment!r}; there are: {_named(experiments, spec.experiment)}"


def _named(names: list[str], wanted: str) -> str:
    """At most LISTED_NAMES of `names`, the ones most like `wanted` first."""
    if len(names) <= LISTED_NAMES:
        return ", ".join(names)
    import difflib

    close = difflib.get_close_matches(wanted, names, LISTED_NAMES) or names[:LISTED_NAMES]
    return f"{', '.join(close)} and {len(names) - len(close)} more"
