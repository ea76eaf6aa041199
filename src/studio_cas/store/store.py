"""An open store: a backend, the configuration that all its users share, and this machine's caches of it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from studio_cas.backends.tilde import expanded
from studio_cas.errors import (
    NotFoundError,
    ObjectExistsError,
    PermissionDeniedError,
    StoreUnavailableError,
    TransientError,
)
from studio_cas.formats import keys, store_config
from studio_cas.store import merging
from studio_cas.store.spool_folder import lost_packs, spool_folder, waiting_packs

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend
    from studio_cas.formats.store_config import StoreConfig
    from studio_cas.ids import PackId
    from studio_cas.store.catalog import Catalog
    from studio_cas.store.merging import Policy
    from studio_cas.store.recent import RecentPacks
    from studio_cas.store.signing import Signer


def studio_home() -> Path:
    """`$STUDIOML_HOME`, or `~/.studioml`. Raises UsageError where there is no home."""
    return Path(expanded(os.environ.get("STUDIOML_HOME") or "~/.studioml")).absolute()


def probed_stores(home: Path) -> Path:
    """The folder that keeps which stores keep create-if-absent; losing it costs a few requests a store."""
    return home / "cache" / "create-only"


@dataclass
class Store:
    """What every operation takes. Close it, or use it as a context manager."""

    backend: Backend
    config: StoreConfig
    home: Path = field(default_factory=studio_home)
    merging: Policy = merging.DEFAULT
    """When captures merge small packs of earlier versions."""
    require_signatures: bool = False
    """Whether artifacts are fetched only where somebody who is trusted has signed the version."""

    @property
    def url(self) -> str:
        """Where the store is; holds no secret."""
        return self.backend.url

    @property
    def cache_dir(self) -> Path:
        """This machine's caches of this store; losing them costs time, not data."""
        return self.home / "cache" / self.config.store_id

    @property
    def states_dir(self) -> Path:
        """What this machine remembers of the folders that it captured or pulled."""
        return self.cache_dir / "states"

    def absent(self) -> frozenset[PackId]:
        """Packs that this machine knows of, and that are not in the store: no version may name them.

        They wait here for a store that is away, or were lost while they waited.
        """
        folder = spool_folder(self.home, self.url)
        return waiting_packs(folder) | lost_packs(folder)

    def waits(self, key: str) -> bool:  # noqa: ARG002  # where a store can be away, one does
        """Whether the object waits on this machine."""
        return False

    def went_up(self, key: str) -> None:
        """A version that this machine made is in the store under `key`, with all its packs; see SpooledStore."""

    @cached_property
    def recent(self) -> RecentPacks:
        """The small packs that this process made last."""
        from studio_cas.store.recent import RecentPacks

        return RecentPacks()

    @cached_property
    def signer(self) -> Signer | None:
        """The key with which this machine signs versions; None where it has none. Raises ConfigError."""
        from studio_cas.store.signing import load_signer

        return load_signer(self.home)

    @cached_property
    def catalog(self) -> Catalog:
        """Chunks that are known to be in the store."""
        from studio_cas.store.catalog import Catalog

        return Catalog(self.cache_dir / "catalog.sqlite")

    def close(self) -> None:
        """Release connections and files."""
        if "catalog" in self.__dict__:
            self.catalog.close()
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(where: str | Path | Backend, *, home: Path | None = None, create: bool = True) -> Store:
    """The store at a path, a URL or behind a backend; with `create`, one is made where there is none.

    Raises StoreUnavailableError (unreachable, or no store and not `create`), CorruptError (not a store).
    """
    from studio_cas.backends.opening import open_backend

    home = home or studio_home()
    backend = open_backend(str(where), memory=probed_stores(home)) if isinstance(where, str | Path) else where
    try:
        config = read_or_create(backend, create=create)
    except BaseException:
        backend.close()
        raise
    return Store(backend, config, home)


def read_or_create(backend: Backend, *, create: bool) -> StoreConfig:
    """The configuration of the store behind `backend`; see `open_store`."""
    try:
        return _config(backend)
    except NotFoundError:
        if not create:
            raise
    except StoreUnavailableError as error:  # the bucket is missing, unless it cannot be reached or is not ours
        if not create or isinstance(error, PermissionDeniedError | TransientError):
            raise
    backend.prepare()
    with suppress(ObjectExistsError):  # another process was first: its configuration holds
        backend.create(keys.FORMAT, [store_config.encode(store_config.new_config())])
    return _config(backend)


def _config(backend: Backend) -> StoreConfig:
    return store_config.decode(backend.read(keys.FORMAT))
