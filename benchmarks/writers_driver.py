"""Captures from many processes at once into one local store, and reads every version back; prints JSON.

    writers_driver.py "own artifacts" | "one artifact" BASE WRITERS VERSIONS

The processes are forked, so that what they import is loaded once; each has a home and a folder of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio_cas.backends.metered import Metered
from studio_cas.backends.opening import open_backend
from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

PATIENCE = 600.0  # seconds


def artifact(kind: str, who: int) -> tuple[str, str]:
    """Experiment and tag that a writer captures to."""
    return ("shared" if kind == "one artifact" else f"exp-{who:03}", "data")


def content(who: int, number: int) -> bytes:
    """What the file of a writer holds when it makes its version `number`."""
    return f"writer {who}, version {number}\n".encode() * 2000


def write(kind: str, base: Path, who: int, versions: int, begin: Barrier, said: Queue[Any]) -> None:
    """Make `versions` versions, when all are ready."""
    folder = base / f"work-{who}"
    folder.mkdir()
    (folder / "same").write_bytes(os.urandom(20_000))
    backend = Metered(open_backend(str(base / "store")))
    numbers, slowest = {}, 0.0
    with open_store(backend, home=base / f"home-{who}") as store:
        begin.wait(PATIENCE)
        before, started = backend.counts, time.monotonic()
        for number in range(versions):
            (folder / "file").write_bytes(content(who, number))
            began = time.monotonic()
            numbers[number] = capture(store, folder, *artifact(kind, who)).version.number
            slowest = max(slowest, time.monotonic() - began)
        counts, ended = backend.counts.since(before), time.monotonic()
    said.put((who, numbers, slowest, counts.create, counts.list, started, ended))


def check(kind: str, base: Path, made: dict[int, dict[int, int]]) -> list[str]:
    """Pull every version that was acknowledged; sentences about what is wrong."""
    wrong = []
    with open_store(base / "store", home=base / "reader") as store:
        found = {}
        for experiment, tag in {artifact(kind, who) for who in made}:
            found |= {version.name: version for version in list_versions(store, experiment, tag)}
        names = ["/".join(artifact(kind, who)) + f"@{one}" for who, own in made.items() for one in own.values()]
        if sorted(names) != sorted(found):
            wrong.append(f"{len(names)} versions were acknowledged, and {len(found)} are there")
        for who, own in made.items():
            for number, version in own.items():
                name, target = f"{'/'.join(artifact(kind, who))}@{version}", base / f"out-{who}-{number}"
                materialise(store, found[name], target)
                if (target / "file").read_bytes() != content(who, number):
                    wrong.append(f"{name} is not what writer {who} captured as its version {number}")
    return wrong


def main() -> None:
    """Start the writers, wait for them, and look at what they made."""
    kind, base, writers, versions = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    open_store(base / "store", home=base / "first").close()
    context = multiprocessing.get_context("fork")
    begin, said = context.Barrier(writers + 1), context.Queue()
    processes = [context.Process(target=write, args=(kind, base, who, versions, begin, said)) for who in range(writers)]
    for process in processes:
        process.start()
    begin.wait(PATIENCE)
    answers = [said.get(timeout=PATIENCE) for _ in processes]
    seconds = max(answer[6] for answer in answers) - min(answer[5] for answer in answers)
    for process in processes:
        process.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    made = {who: numbers for who, numbers, *_ in answers}
    print(
        json.dumps(
            {
                "versions": writers * versions, "seconds": seconds, "cpu": used.ru_utime + used.ru_stime,
                "slowest": max(answer[2] for answer in answers), "creates": sum(answer[3] for answer in answers),
                "lists": sum(answer[4] for answer in answers), "wrong": check(kind, base, made),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
