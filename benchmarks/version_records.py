"""Makes many version records directly, or asks for the newest; prints what it took, as JSON.

version_records.py make STORE HOME VERSIONS
version_records.py ask STORE HOME
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from studio_cas.backends.metered import counts_of_process
from studio_cas.formats import keys, version
from studio_cas.store import versions
from studio_cas.store.store import Store, open_store
from studio_cas.worktree.capture import capture

if TYPE_CHECKING:
    from collections.abc import Callable

ARTIFACT = ("bench", "data")
LISTED = 20


def make(store: Store, count: int) -> None:
    """Capture a small folder into a local store, and write its record again under every other number."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "file").write_bytes(b"content" * 1000)
        first = capture(store, Path(folder), *ARTIFACT).version

    def record(number: int) -> tuple[str, bytes]:
        made = dataclasses.replace(first, number=number, parent=number - 1)
        return keys.version(*ARTIFACT, number), version.encode(made)

    for key, content in map(record, range(2, count + 1)):  # without its syncs, which are not what is measured
        (Path(store.url) / key).write_bytes(content)


def ask(store: Store) -> dict[str, dict[str, float]]:
    """Seconds, processor time and requests of each question."""
    questions: dict[str, Callable[[], object]] = {
        "plain listing of one name": lambda: list(store.backend.list(keys.versions(*ARTIFACT), limit=1)),
        "the latest version": lambda: versions.latest(store, *ARTIFACT),
        "the newest 20": lambda: list(versions.list_versions(store, *ARTIFACT, LISTED)),
        "a version in the middle": lambda: versions.resolve(store, f"{'/'.join(ARTIFACT)}@7"),
        "the artifacts of the experiment": lambda: versions.list_tags(store, ARTIFACT[0]),
    }
    said = {}
    for name, question in questions.items():
        before, began, cpu = counts_of_process(), time.perf_counter(), time.process_time()
        question()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        counts = counts_of_process().since(before)
        said[name] = {"seconds": seconds, "cpu": cpu, "lists": counts.list, "reads": counts.read}
    return said


def main() -> None:
    """Do what the words say."""
    task, where, home = sys.argv[1:4]
    with open_store(where, home=Path(home)) as store:
        if task == "make":
            make(store, int(sys.argv[4]))
        else:
            print(json.dumps(ask(store)))


if __name__ == "__main__":
    main()
