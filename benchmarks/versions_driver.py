"""Makes many versions, or pulls one, in a fresh process through the Python API; prints what it took, as JSON.

    versions_driver.py make SCENE FOLDER HOME SIZE VERSIONS MERGE
    versions_driver.py push FOLDER HOME
    versions_driver.py pull HOME TARGET DELAY

DELAY: seconds that each request to the store takes longer, and that there are 16 at a time, as in a cloud; 0: a folder.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio_cas.backends.metered import Metered
from studio_cas.backends.opening import open_backend
from studio_cas.store import merging
from studio_cas.store.store import Store, open_store
from studio_cas.store.versions import resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.backends.base import ObjectStat
    from studio_cas.ids import Buffer

ARTIFACT = ("bench", "data")


class Objects(Metered):
    """Also knows which objects were read, and can be as far away as a cloud."""

    def __init__(self, where: Path, delay: float) -> None:
        super().__init__(open_backend(str(where)))
        self.read_keys: set[str] = set()
        self.delay = delay

    @property
    def local(self) -> bool:
        """Whether it is near."""
        return not self.delay

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """As `inner`, later."""
        self.read_keys.add(key)
        time.sleep(self.delay)
        return super().read(key, offset, length)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """As `inner`, later."""
        time.sleep(self.delay)
        return super().list(prefix, limit)


def opened(home: str, delay: float = 0.0) -> tuple[Store, Objects]:
    """The store below a home folder."""
    backend = Objects(Path(home) / "store", delay)
    return open_store(backend, home=Path(home)), backend


def make(scene: str, folder: str, home: str, size: str, versions: str, merge: str) -> dict[str, Any]:
    """Version 1 to `versions` of a scene; what the later ones took, in the median and at most."""
    from versions_scenes import SCENES

    begin, step, _ = SCENES[scene]
    root = Path(folder)
    begin(root, int(size))
    store, backend = opened(home)
    if merge == "no":
        store.merging = merging.NEVER
    seconds, creates, reads, stored = [], [], [], []
    with store:
        capture(store, root, *ARTIFACT)
        for number in range(int(versions) - 1):
            step(root, int(size), number)
            before, began = backend.counts, time.perf_counter()
            result = capture(store, root, *ARTIFACT)
            seconds.append(time.perf_counter() - began)
            creates.append(backend.counts.create - before.create)
            reads.append(result.bytes_read)
            stored.append(result.bytes_stored)
        counts = backend.counts
    return {
        "seconds": sorted(seconds)[len(seconds) // 2],
        "slowest": max(seconds),
        "creates": sum(creates) / len(creates),
        "most": max(creates),
        "read": max(reads),
        "stored": sum(stored),
        "fetched": counts.bytes_in,
    }


def push(folder: str, home: str) -> dict[str, Any]:
    """One version of a folder in a new store."""
    store, _ = opened(home)
    with store:
        return {"version": capture(store, Path(folder), *ARTIFACT).version.number}


def pull(home: str, target: str, delay: str) -> dict[str, Any]:
    """The latest version; seconds without those of the imports."""
    began = time.perf_counter()
    store, backend = opened(home, float(delay))
    with store:
        materialise(store, resolve(store, "/".join(ARTIFACT)), Path(target))
    seconds = time.perf_counter() - began
    counts = backend.counts
    return {
        "seconds": seconds,
        "cpu": time.process_time(),
        "bytes": counts.bytes_in,
        "reads": counts.read,
        "objects": len(backend.read_keys),
    }


if __name__ == "__main__":
    print(json.dumps({"make": make, "push": push, "pull": pull}[sys.argv[1]](*sys.argv[2:])))
