"""From a configuration to an open store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from studio_cas.backends.base import Backend
    from studio_cas.config.settings import Config, Storage
    from studio_cas.store.store import Store


def open_configured_store(config: Config, *, create: bool = True) -> Store:
    """Open the store that `config` names; with `create`, it is made where it is missing and the credential may.

    Raises StoreUnavailableError, in one sentence that says what to do.
    """
    opened = open_storage(config.storage, config.home, create=create)
    opened.require_signatures = config.require_signatures
    return opened


def open_storage(
    storage: Storage, home: Path, *, create: bool = True, around: Callable[[Backend], Backend] | None = None
) -> Store:
    """Open the store at `storage`, with caches under `home`; `around` puts a decorator of its own around the backend.

    Raises StoreUnavailableError.
    """
    from studio_cas.store.store import open_store

    backend = backend_of(storage, home)
    return open_store(around(backend) if around else backend, home=home, create=create)


def open_spooled_storage(
    storage: Storage,
    home: Path,
    *,
    create: bool = True,
    around: Callable[[Backend], Backend] | None = None,
    budget: int | None = None,
) -> Store:
    """The same, where what is written waits in the home while the store is away, and a thread sends it afterwards.

    `budget` is the number of bytes that may wait; else a share of the disk. A store on this machine is never away: it
    is opened without.
    """
    backend = backend_of(storage, home, hurried=True)
    if backend.local:
        return open_storage(storage, home, create=create, around=around)
    from studio_cas.store.spooled import open_spooled

    opened = open_spooled(around(backend) if around else backend, home=home, create=create, budget=budget)
    opened.start()
    return opened


def backend_of(storage: Storage, home: Path | None = None, *, hurried: bool = False) -> Backend:
    """The backend of the store at `storage`; no request is made. Without a home, nothing is remembered of it.

    `hurried`: a store that does not answer is soon given up. Raises UsageError, StoreUnavailableError.
    """
    from studio_cas.backends.opening import open_backend
    from studio_cas.store.store import probed_stores

    return open_backend(
        storage.url,
        credentials=storage.credentials,
        endpoint=storage.endpoint,
        project=storage.project,
        region=storage.region,
        account=storage.account,
        memory=probed_stores(home) if home else None,
        hurried=hurried,
    )
