"""Captures or pulls through the Python API in a fresh process; prints the seconds, imports included, as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

ARTIFACT = ("bench", "data")


def capture(root: Path, *, compression: bool) -> dict[str, object]:
    """Capture a folder; return what the result says."""
    from studio_cas.store.store import open_store
    from studio_cas.worktree.capture import capture as capture_folder

    home = Path(os.environ["STUDIOML_HOME"])
    imported = time.perf_counter()
    with open_store(str(home / "store"), home=home) as store:
        result = capture_folder(store, root, *ARTIFACT, compression=compression)
    return {
        "imports": imported - STARTED, "created": result.created, "bytes_read": result.bytes_read,
        "bytes_stored": result.bytes_stored, "version": result.version.number,
    }  # fmt: skip


def pull(target: Path) -> dict[str, object]:
    """Pull the latest version; return what the result says."""
    from studio_cas.store.store import open_store
    from studio_cas.store.versions import resolve
    from studio_cas.worktree.materialise import materialise

    home = Path(os.environ["STUDIOML_HOME"])
    imported = time.perf_counter()
    with open_store(str(home / "store"), home=home) as store:
        result = materialise(store, resolve(store, "/".join(ARTIFACT)), target)
    return {
        "imports": imported - STARTED, "bytes_written": result.bytes_written, "bytes_fetched": result.bytes_fetched,
    }  # fmt: skip


if __name__ == "__main__":
    STARTED = time.perf_counter()
    path = Path(sys.argv[2])
    said = pull(path) if sys.argv[1] == "pull" else capture(path, compression=sys.argv[3] == "on")
    print(json.dumps({"seconds": time.perf_counter() - STARTED, **said}))
