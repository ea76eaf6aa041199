"""Where a store's spool lies on this machine, and which packs it knows not to be in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from studio_cas.formats import keys
from studio_cas.ids import PackId, digest

if TYPE_CHECKING:
    from pathlib import Path

SPOOL: Final = "spool"
LOST: Final = "lost"


def spool_folder(home: Path, url: str) -> Path:
    """The folder of the spool of the store at `url`."""
    return home / SPOOL / digest(url.encode()).hex()[:16]


def is_pack(key: str) -> bool:
    """Whether `key` is that of a pack, of data or of trees."""
    return key.startswith((keys.PACKS, keys.TREES))


def waiting_packs(folder: Path) -> frozenset[PackId]:
    """The packs that wait in the spool `folder`."""
    if not folder.is_dir():
        return frozenset()
    from studio_cas.backends.local import LocalBackend
    from studio_cas.backends.spool_queue import SpoolQueue, share_of_disk

    queue = SpoolQueue(LocalBackend(folder), folder, share_of_disk(folder))
    return frozenset(keys.pack_id_of(item.key) for item in queue.items() if is_pack(item.key))


def lost_packs(folder: Path) -> frozenset[PackId]:
    """The packs that were gone from the store when a version that needs them was to go up."""
    return packs_named_in(folder / LOST)


def packs_named_in(folder: Path) -> frozenset[PackId]:
    """The packs whose ids are the names of files in `folder`; none where it cannot be read."""
    try:
        return frozenset(PackId.parse(path.name) for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return frozenset()
