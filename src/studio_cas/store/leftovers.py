"""What else nobody needs: old pins, objects that tried something out, runs of hooks that name only packs that are gone.

None of it decides whether data are right: a pin that is removed costs its writer a second look (docs/concurrency.md),
hooks are derived. What a crash leaves in a local folder besides, files named `.new-*`, the next writer there removes.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.backends.probe import TRIALS
from studio_cas.backends.rights import DELETE, rights_of
from studio_cas.errors import CorruptError, NotFoundError, PermissionDeniedError
from studio_cas.formats import hooks, keys
from studio_cas.progress import Silent
from studio_cas.store.deleting import Amount, Deleting
from studio_cas.store.versions import read_ahead

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from studio_cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was removed, or would be."""

    pins: Amount
    trials: Amount
    hooks: Amount


@dataclass(frozen=True, slots=True)
class Found:
    """What is there, keys and sizes: pins and trials that are old enough to go, and runs of hooks that may have to."""

    pins: dict[str, int]
    trials: dict[str, int]
    hooks: dict[str, int]


def check_deletes(store: Store) -> float:
    """See that the credential may delete; the time by the clock of the store, in seconds since the epoch.

    Raises PermissionDeniedError.
    """
    key = f"{TRIALS}{secrets.token_hex(16)}"
    store.backend.create(key, [b"may it be deleted?"])
    listed = next(store.backend.list(key, limit=1), None)  # as packs are: a stat may tell another time
    now = listed.created if listed else time.time()  # another collector took it for a leftover
    try:
        store.backend.delete(key)
    except PermissionDeniedError as error:
        rights = rights_of(store.backend, trial=False)
        if rights is None or DELETE not in rights.held:  # else a retention rule, which older objects may have outlived
            raise PermissionDeniedError(
                f"{error}: garbage is collected with a credential that may delete; nothing was published"
            ) from error
    except NotFoundError:
        return now
    return now


def find(store: Store, before: float) -> Found:
    """What there is, to be listed before packs are: so the packs of each run of hooks were there by then.

    `before`: in seconds since the epoch; what was created later stays.
    """

    def old(prefix: str) -> dict[str, int]:
        return {found.key: found.size for found in store.backend.list(prefix) if found.created <= before}

    return Found(old(keys.PINS), old(TRIALS), old(keys.HOOKS))


def remove_pins(store: Store, pins: dict[str, int]) -> None:
    """Remove `pins`. One that stays is a pin like any other."""
    with Deleting(store.backend, Silent()) as deleting:
        deleting.delete(pins.items())


def remove(store: Store, found: Found, there: AbstractSet[bytes], *, dry_run: bool) -> Leftovers:
    """Remove trials, and runs of hooks that name no pack that is `there`; pins are removed before."""
    dead = {key: found.hooks[key] for key in filter(None, _dead_runs(store, found, there))}
    if not dry_run:
        with Deleting(store.backend, Silent()) as deleting:
            deleting.delete((found.trials | dead).items())
    return Leftovers(*(Amount.of(kind.values()) for kind in (found.pins, found.trials, dead)))


def _dead_runs(store: Store, found: Found, there: AbstractSet[bytes]) -> list[str]:
    def dead(key: str) -> str:
        with suppress(NotFoundError, CorruptError):  # one that nobody can read is left to a person
            rows = hooks.decode(bytes(store.backend.read(key)))
            return key if all(pack not in there for _, pack in rows) else ""
        return ""

    return list(read_ahead(iter(found.hooks), dead, store.backend))
