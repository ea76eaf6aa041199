"""A bucket or folder of the original StudioML.

    experiments/<key>                          (in a bucket) its record, JSON
    experiments/<key>/<tag>.tar[.gz|.bz2|.xz]  an artifact that changed while it ran
    blobstore/<sha256>.tar[…]                  one that did not; only a record says whose it is

Names do not say how a file is compressed. Early versions put a folder under its own name into an archive, later ones
what is in it; `.tgz` is as old. Records may lie in a bucket of their own, or in an export of a Firebase database.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio_cas.errors import CorruptError, NotFoundError, StudioError
from studio_cas.formats import document
from studio_cas.moving.items import Archive, Document, Item, usable_name
from studio_cas.moving.studioml_records import artifacts, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from studio_cas.moving.sources import Found, Origin

EXPERIMENTS, BLOBS = "experiments/", "blobstore/"
ARTIFACT = re.compile(r"(?P<tag>[^/]+?)\.(?:tar(?:\.\w{1,5})?|tgz|tbz2?|txz)")
RECORD_LIMIT = 64 * 1024 * 1024
RECORD = "experiment.json"
RECORD_TAG = "studioml"
"""The artifact that keeps a record as it was, but for credentials."""


@dataclass(frozen=True, slots=True)
class StudioMLExperiment:
    """One experiment: its record, None where there is none, and its artifacts. `tags`: tag in the record to tag here.

    `blobs`: names of the blobs that it uses.
    """

    key: str
    name: str
    record: Mapping[str, Any] | None
    tags: Mapping[str, str]
    items: tuple[Item, ...]
    blobs: frozenset[str]


def is_studioml(names: list[str], origin: Origin) -> bool:
    """Whether a place with these names is one."""
    return "blobstore" in names or ("experiments" in names and _has_artifacts(origin))


def _has_artifacts(origin: Origin) -> bool:
    """Whether one of the first experiments has archives, or a record beside its folder."""
    keys = origin.names(EXPERIMENTS)[:50]
    return any(ARTIFACT.fullmatch(name) for key in keys for name in origin.names(f"{EXPERIMENTS}{key}/"))


def find_experiments(origin: Origin, records: Records, wanted: Callable[[str], bool]) -> Iterator[StudioMLExperiment]:
    """All experiments whose key is `wanted`, in order of key."""
    keys = sorted({*origin.names(EXPERIMENTS), *records.keys()})
    taken: set[str] = set()
    for key in keys:
        if not wanted(key):
            continue
        name = usable_name(key, taken)
        taken.add(name)
        yield _experiment(origin, records, key, name)


def unused_blobs(origin: Origin, used: set[str]) -> Iterator[Item]:
    """Blobs that no record names."""
    for name in origin.names(BLOBS):
        if f"{BLOBS}{name}" not in used:
            yield Item(f"{BLOBS}{name}", "", "", problem="no record of an experiment names it")


class Records:
    """The JSON records: objects `experiments/<key>` of a place, or one document with all of them."""

    def __init__(self, origin: Origin, every: Mapping[str, Any] | None = None) -> None:
        self._origin = origin
        self._every = every

    @classmethod
    def of_document(cls, origin: Origin, name: str) -> Records:
        """Those of an export of a database. Raises CorruptError."""
        with document.reading(f"{name} cannot be read"):
            parsed = _parse(origin, name)
            return cls(origin, document.mapping(parsed.get("experiments", parsed)))

    def keys(self) -> list[str]:
        """The experiments that have a record."""
        return list(self._every) if self._every is not None else self._origin.names(EXPERIMENTS)

    def read(self, key: str) -> Mapping[str, Any] | None:
        """The record of an experiment, None where there is none. Raises CorruptError."""
        if self._every is not None:
            found = self._every.get(key)
            return found if isinstance(found, dict) else None
        name = f"{EXPERIMENTS}{key}"
        try:
            with document.reading(f"{name} cannot be read"):
                return _parse(self._origin, name)
        except NotFoundError:
            return None


def _parse(origin: Origin, name: str) -> dict[str, Any]:
    if origin.folder is not None and (origin.folder / name).is_dir():
        raise NotFoundError(f"{name} is a folder")
    with origin.open(name) as file:
        return document.parse(file.read(RECORD_LIMIT + 1), RECORD_LIMIT)


def _experiment(origin: Origin, records: Records, key: str, name: str) -> StudioMLExperiment:
    items: list[Item] = []
    record: Mapping[str, Any] | None = None
    try:
        record = records.read(key)
    except CorruptError as error:
        items.append(Item(f"{EXPERIMENTS}{key}", name, RECORD_TAG, problem=str(error), broken=True))
    there, problems = _archives(origin, key)
    items += [Item(where, name, "", problem=why) for where, why in problems.items()]
    known = artifacts(record) if record else []
    tags: dict[str, str] = {}
    for tag in sorted({*(one.tag for one in known), *there}):
        tags[tag] = usable_name(tag, {*tags.values(), RECORD_TAG})
    locals_ = {one.tag: one.local for one in known}
    for tag, found in there.items():
        called = _called(key, tag, locals_.get(tag, ""))
        items += [_item(origin, one, name, tags[tag], called) for one in sorted(found, key=lambda one: one.time)]
    for one in known:
        if one.tag not in there:
            items.append(_named(origin, key, name, tags[one.tag], one.key, one.local, one.elsewhere))
    if record:
        kept = without_secrets(record)
        stamp = json.dumps(kept, sort_keys=True)
        items.append(Item(f"{EXPERIMENTS}{key}", name, RECORD_TAG, stamp, len(stamp), content=Document(RECORD, kept)))
    blobs = frozenset(one.key for one in known if one.key.startswith(BLOBS))
    return StudioMLExperiment(key, name, record, tags, tuple(items), blobs)


def _archives(origin: Origin, key: str) -> tuple[dict[str, list[Found]], dict[str, str]]:
    """The archives of an experiment, by tag, several where they are compressed in several ways; and what is none."""
    found: dict[str, list[Found]] = {}
    problems: dict[str, str] = {}
    for last in origin.names(f"{EXPERIMENTS}{key}/"):
        name, match = f"{EXPERIMENTS}{key}/{last}", ARTIFACT.fullmatch(last)
        if match is None:
            problems[name] = "is no archive, by its name"
            continue
        try:
            found.setdefault(match["tag"], []).append(origin.find(name))
        except NotFoundError as error:
            problems[name] = str(error)
    return {tag: archives for tag, archives in found.items() if archives}, problems


def _called(key: str, tag: str, local: str) -> frozenset[bytes]:
    """What the folder or file in an archive may be called, without being a part of it."""
    base = local.rstrip("/").rpartition("/")[2]
    return frozenset(name.encode("utf-8", "surrogateescape") for name in (tag, key, base) if name)


def _item(origin: Origin, found: Found, experiment: str, tag: str, called: frozenset[bytes]) -> Item:
    content = Archive(origin, found.name, called)
    return Item(found.name, experiment, tag, found.stamp, found.size, found.time, content)


def _named(origin: Origin, key: str, experiment: str, tag: str, where: str, local: str, elsewhere: str) -> Item:
    """An artifact that only the record names: a blob, or something that lies elsewhere."""
    if not where:
        reason = f"lies elsewhere: {elsewhere}" if elsewhere else "was never stored"
        return Item(f"{EXPERIMENTS}{key}: {tag}", experiment, tag, problem=reason)
    try:
        found = origin.find(where)
    except StudioError:
        return Item(where, experiment, tag, problem=f"is missing, and {EXPERIMENTS}{key} names it", broken=True)
    digest = where.rpartition("/")[2].partition(".")[0]
    return _item(origin, found, experiment, tag, _called(digest, tag, local))
