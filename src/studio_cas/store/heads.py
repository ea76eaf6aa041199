"""The newest version of each artifact that this machine saw signed, so that it notices when newer ones are taken away.

And which store lay at an address: what is remembered is of a store by its id, which the store says itself, so another
one in its place would be one of which nothing is known.

Beside the keys, and not among the caches: losing it costs knowledge. What is remembered moves on to a newer version
only where the one that was remembered is still there: what was missed once is missed until it is forgotten on purpose.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from studio_cas.errors import CorruptError, LocalIOError
from studio_cas.formats import keys
from studio_cas.formats.signature import Predecessor
from studio_cas.ids import RecordId, digest
from studio_cas.store.trust import FOLDER, key_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from studio_cas.store.store import Store

_SEEN: Final = "seen"
_STORES: Final = "stores"


@dataclass(frozen=True, slots=True)
class Head:
    """A version that was there, and when it was seen, in seconds since the epoch."""

    version: Predecessor
    seen: float


def _folder(store: Store) -> Path:
    return store.home / FOLDER / _SEEN / store.config.store_id


def _address(store: Store) -> Path:
    return store.home / FOLDER / _STORES / digest(store.url.encode("utf-8", "surrogateescape")).hex()[:32]


def check_store(store: Store) -> None:
    """Raises CorruptError where another store lay at its address when something was remembered of that."""
    path = _address(store)
    try:
        known = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return
    if known != store.config.store_id:
        raise CorruptError(
            f"{store.url} is another store than the one whose signed versions this machine saw, {known}: somebody put "
            f"it, with its {keys.FORMAT}, in the place of that one; where that was on purpose, remove the file {path}"
        )


def _remember_store(store: Store) -> None:
    path = _address(store)
    if not path.exists():
        _write(path, store.config.store_id)


def _write(path: Path, line: str) -> None:
    """Make or replace the file `path` as a whole, and the folders above it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.urandom(4).hex()}"[:250])
    beside.write_text(f"{line}\n", encoding="ascii")
    beside.replace(path)


def recall(store: Store, experiment: str, tag: str) -> Head | None:
    """What is remembered of an artifact; None where nothing is, or it cannot be read."""
    try:
        row = json.loads((_folder(store) / experiment / tag).read_bytes())
        return Head(Predecessor(int(row["number"]), RecordId.parse(row["record"])), float(row["time"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def recall_tags(store: Store, experiment: str) -> list[str]:
    """The artifacts of an experiment of which something is remembered."""
    try:
        return sorted(name for name in os.listdir(_folder(store) / experiment) if not name.startswith("."))  # noqa: PTH208
    except OSError:
        return []


def follow(store: Store, experiment: str, tag: str, version: Predecessor, previous: Predecessor | None) -> None:
    """Remember a version that was just made after `previous`, unless something else was there when we looked last.

    Then what is remembered stays, until somebody verifies the history, or forgets it.
    """
    known = recall(store, experiment, tag)
    if known is None or known.version == previous:
        remember(store, experiment, tag, version)


def remember(store: Store, experiment: str, tag: str, version: Predecessor) -> None:
    """Remember that `version` was there, unless a newer one is remembered. A disk that refuses makes it know less."""
    known = recall(store, experiment, tag)
    if known is not None and known.version.number >= version.number:
        return
    path = _folder(store) / experiment / tag
    row = {"number": version.number, "record": version.record_id.hex(), "time": time.time()}
    with suppress(OSError):
        key_folder(store.home)
        _remember_store(store)
        _write(path, json.dumps(row))


def forget_removed(store: Store, removed: Iterable[str]) -> None:
    """Forget what lay under the keys of versions that were removed on purpose."""
    for key in removed:
        experiment, tag = key.split("/")[1:3]
        known = recall(store, experiment, tag)
        if known is not None and key == keys.version(experiment, tag, known.version.number):
            forget(store, experiment, tag)


def forget(store: Store, experiment: str, tag: str | None = None) -> int:
    """Forget an artifact, or all of an experiment; how many artifacts that were. Raises LocalIOError."""
    tags = [one for one in recall_tags(store, experiment) if tag in {None, one}]
    for one in tags:
        path = _folder(store) / experiment / one
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LocalIOError(f"{path} cannot be removed: {error.strerror}") from error
    return len(tags)
