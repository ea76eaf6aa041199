"""From a configuration to an open store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio_cas.config.settings import Config
    from studio_cas.store.store import Store


def open_configured_store(config: Config, *, create: bool = True) -> Store:
    """Open the store that `config` names; with `create`, it is made where it is missing and the credential may.

    Raises StoreUnavailableError, in one sentence that says what to do.
    """
    from studio_cas.backends.opening import open_backend
    from studio_cas.store.store import open_store

    storage = config.storage
    backend = open_backend(
        storage.url, credentials=storage.credentials, endpoint=storage.endpoint, project=storage.project
    )
    return open_store(backend, home=config.home, create=create)
