"""Content-addressed artifact store for people who train models.

    import studio_cas

    with studio_cas.open_store("gs://bucket/prefix") as store:
        studio_cas.capture(store, Path("weights"), "exp", "weights")
        version = studio_cas.resolve(store, "exp/weights@-1")
        studio_cas.materialise(store, version, Path("earlier"))

Names are imported when they are first used, so importing this package costs nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as in typing, whose import would be the longest part of this one
if TYPE_CHECKING:
    from studio_cas.errors import (
        ConflictError,
        CorruptError,
        NoSpaceError,
        NotFoundError,
        RefusedError,
        StoreUnavailableError,
        StudioError,
        UsageError,
    )
    from studio_cas.formats.version import Version
    from studio_cas.ids import ChunkId, ManifestId, PackId
    from studio_cas.store.store import Store, open_store
    from studio_cas.store.versions import list_experiments, list_tags, list_versions, resolve
    from studio_cas.worktree.blobcache import ensure as cached
    from studio_cas.worktree.capture import CaptureResult, capture
    from studio_cas.worktree.diff import Change, diff
    from studio_cas.worktree.listing import ListedEntry, entries, read_file
    from studio_cas.worktree.materialise import MaterialiseResult, materialise

__version__ = "0.1.0"

_HOMES = {
    "studio_cas.errors": (
        "ConflictError",
        "CorruptError",
        "NoSpaceError",
        "NotFoundError",
        "RefusedError",
        "StoreUnavailableError",
        "StudioError",
        "UsageError",
    ),
    "studio_cas.formats.version": ("Version",),
    "studio_cas.ids": ("ChunkId", "ManifestId", "PackId"),
    "studio_cas.store.store": ("Store", "open_store"),
    "studio_cas.store.versions": ("list_experiments", "list_tags", "list_versions", "resolve"),
    "studio_cas.worktree.capture": ("CaptureResult", "capture"),
    "studio_cas.worktree.diff": ("Change", "diff"),
    "studio_cas.worktree.listing": ("ListedEntry", "entries", "read_file"),
    "studio_cas.worktree.materialise": ("MaterialiseResult", "materialise"),
}
_WHERE = {name: (module, name) for module, names in _HOMES.items() for name in names}
_WHERE["cached"] = ("studio_cas.worktree.blobcache", "ensure")

__all__ = [
    "CaptureResult",
    "Change",
    "ChunkId",
    "ConflictError",
    "CorruptError",
    "ListedEntry",
    "ManifestId",
    "MaterialiseResult",
    "NoSpaceError",
    "NotFoundError",
    "PackId",
    "RefusedError",
    "Store",
    "StoreUnavailableError",
    "StudioError",
    "UsageError",
    "Version",
    "cached",
    "capture",
    "diff",
    "entries",
    "list_experiments",
    "list_tags",
    "list_versions",
    "materialise",
    "open_store",
    "read_file",
    "resolve",
]


def __getattr__(name: str) -> object:
    try:
        module, attribute = _WHERE[name]
    except KeyError:
        message = f"module 'studio_cas' has no attribute {name!r}"
        raise AttributeError(message) from None
    return getattr(importlib.import_module(module), attribute)
