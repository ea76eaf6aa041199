"""Writers, collectors and people who remove versions, killed with -9: `python tests/reliability/soak_collect.py`.

`--rounds 100 [--seed N]`. In a round several processes work on one store at once, without grace, each with a home of
its own, some of which have slept for rounds and remember packs that are long gone. Folders are made of few files in
ever new combinations, so that captures adopt what collectors are about to delete. Some processes are killed at random
moments. Afterwards every version that was acknowledged, and that nobody wanted to remove, pulls and is what was
captured; and a last collection leaves exactly what is needed.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.reliability.folders import snapshot

from studio_cas.formats import keys
from studio_cas.formats.spec import parse_spec
from studio_cas.store import versions
from studio_cas.store.collecting import collect
from studio_cas.store.reachability import packs_of
from studio_cas.store.store import Store, open_store
from studio_cas.worktree.materialise import materialise

CHILD = """
import random
import sys
import time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.reliability.soak_collect import act
print("ready", flush=True)
sys.stdin.readline()
act(Path(sys.argv[2]), *sys.argv[3:6], random.Random(sys.argv[6]))
"""
POOL = 24
ARTIFACTS = ("exp/one", "exp/two", "other/one")
CAPTURES = 6
COLLECTIONS = 5
REMOVALS = 6


def act(base: Path, role: str, home: str, log: str, chance: random.Random) -> None:
    """What a process does; it writes down what it is about to do, and what was acknowledged."""
    from studio_cas.errors import NotFoundError, TransientError
    from studio_cas.experiment.removing import plan_removal, remove
    from studio_cas.worktree.capture import capture

    with open_store(base / "store", home=base / home) as store, (base / log).open("a") as told:
        for number in range({"write": CAPTURES, "collect": COLLECTIONS, "remove": REMOVALS}[role]):
            if role == "collect":
                collect(store, grace=0)
            elif role == "write":
                name = chance.choice(ARTIFACTS)
                work = base / "work" / home
                shuffle(base, work, chance)
                try:
                    made = capture(store, work, *name.split("/")).version
                except TransientError as error:
                    if "3 times" not in str(error):
                        raise
                    continue
                print(f"acknowledged {made.name} {digest_of(work)}", file=told, flush=True)
            else:
                try:
                    found = [one.name for one in versions.list_versions(store, *chance.choice(ARTIFACTS).split("/"))]
                    name = chance.choice([one for one in found if int(one.rpartition("@")[2]) > number] or found)
                    print(f"removes {name} -", file=told, flush=True)
                    remove(
                        store, plan_removal(store, parse_spec(name), "somebody", force=True), "somebody", time.time()
                    )
                except (NotFoundError, IndexError):
                    time.sleep(0.02)


def shuffle(base: Path, work: Path, chance: random.Random) -> None:
    """Another combination of the files in the pool."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for number in chance.sample(range(POOL), 6):
        shutil.copyfile(base / "pool" / f"{number}", work / f"{number}")


def digest_of(folder: Path) -> str:
    """A digest of what is in a folder."""
    return hashlib.sha256(repr(sorted(snapshot(folder).items())).encode()).hexdigest()


class Soak:
    """One store; `round` lets processes work on it, and verifies it."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base = base
        self.random = random.Random(seed)
        self.acknowledged: dict[str, str] = {}
        self.killed = self.verified = self.collected = 0
        self._rounds = 0
        (base / "pool").mkdir(parents=True)
        for number in range(POOL):
            (base / "pool" / f"{number}").write_bytes(
                self.random.randbytes(self.random.choice([3000, 70_000, 200_000]))
            )
        self._open().close()

    def _open(self) -> Store:
        return open_store(self.base / "store", home=self.base / "reader")

    def round(self, writers: int = 3, collectors: int = 2, kills: float = 0.6) -> None:
        """One round. Raises AssertionError where anything is not as it should be."""
        self._rounds += 1
        awake = self.random.sample(range(2 * writers), writers)
        roles = [*(("write", f"home-{one}") for one in awake), ("remove", "person")]
        roles += [("collect", f"collector-{one}") for one in range(collectors)]
        children = []
        for role, home in roles:
            words = [
                str(Path(__file__).parents[2]),
                str(self.base),
                role,
                home,
                f"{home}.log",
                f"{self.random.random()}",
            ]
            command = [sys.executable, "-c", CHILD, *words]
            children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()
        doomed = [child for child in children if self.random.random() < kills]
        for child in doomed:
            time.sleep(self.random.uniform(0, 0.4))
            child.send_signal(signal.SIGKILL)
        for child, (role, home) in zip(children, roles, strict=True):
            child.communicate(timeout=300)
            assert child.returncode in ((0, -signal.SIGKILL) if child in doomed else (0,)), f"{role} of {home} failed"
            self.killed += child.returncode != 0
        self._verify()

    def _verify(self) -> None:
        for log in sorted(self.base.glob("*.log")):
            for line in log.read_text().splitlines():
                word, name, digest = line.split()
                if word == "acknowledged":
                    self.acknowledged[name] = digest
        removed = (
            {line.split()[1] for line in (self.base / "person.log").read_text().splitlines()}
            if (self.base / "person.log").exists()
            else set()
        )
        with self._open() as store:
            for name, digest in self.acknowledged.items():
                if name in removed:
                    continue
                target = self.base / "check"
                materialise(store, versions.resolve(store, name), target)
                assert digest_of(target) == digest, f"{name} is not what was captured"
                shutil.rmtree(target)
                self.verified += 1
            if self._rounds % 5 == 0:
                self._collect(store)

    def _collect(self, store: Store) -> None:
        """With nobody else at work, what is left is what is needed, but for versions that nobody acknowledged."""
        found = collect(store, grace=0)
        self.collected += found.data.objects + found.trees.objects
        needed = set()
        for name in ARTIFACTS:
            for version in versions.list_versions(store, *name.split("/")):
                needed |= packs_of(store, version)
        prefixes = (keys.PACKS, keys.TREES)
        there = {keys.pack_id_of(one.key) for prefix in prefixes for one in store.backend.list(prefix)}
        assert there <= needed, "something is left that no version needs"

    def end(self) -> None:
        """The last collection."""
        with self._open() as store:
            self._collect(store)


def main() -> int:
    """Run the soak, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(base, options.seed)
    for number in range(1, options.rounds + 1):
        try:
            soak.round()
        except BaseException:
            print(f"failed in round {number} with --seed {options.seed}; everything is in {base}")
            raise
        if number % 10 == 0:
            told = f"{soak.killed} processes killed, {len(soak.acknowledged)} versions acknowledged"
            print(f"round {number}: {told}, {soak.verified} times one was verified", flush=True)
    soak.end()
    print(f"{options.rounds} rounds, {soak.killed} kills: every version that counts is whole")
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
