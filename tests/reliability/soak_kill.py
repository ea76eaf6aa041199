"""Kill -9 at random moments of capture and pull: `python tests/reliability/soak_kill.py --kills 200 [--seed N]`.

A child captures or pulls, and is killed after a random part of the time that its kind of work takes. Afterwards every
version pulls completely and equals what was captured, the next capture and pull succeed without `force`, the source is
as it was, and beside the destination there is nothing.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.reliability.folders import fill, names, snapshot

from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions, resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

if TYPE_CHECKING:
    from studio_cas.store.store import Store

CHILD = """
import sys
import time
from pathlib import Path
from studio_cas.store.store import open_store
from studio_cas.store.versions import resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise
action, base, spec = sys.argv[1:]
base = Path(base)
with open_store(base / "store", home=base / "home") as store:
    began = time.monotonic()
    print("ready", flush=True)
    if action == "capture":
        capture(store, base / "work", "exp", "tag")
    else:
        materialise(store, resolve(store, spec), base / "out" / ("file" if "single" in spec else "here"))
print(time.monotonic() - began, flush=True)
"""
ACTIONS = ("capture", "pull", "update", "single")


class Soak:
    """One store, one source, one folder of destinations; `kill` does one round."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base = base
        self.random = random.Random(seed)
        self.work, self.out = base / "work", base / "out"
        self.out.mkdir(parents=True)
        self.contents: dict[int, dict[bytes, tuple[object, ...]]] = {}
        self.lasted = dict.fromkeys(ACTIONS, 0.2)
        self.killed = dict.fromkeys(ACTIONS, 0)
        fill(self.work, seed, big=4 << 20)
        for number in range(600):
            (self.work / f"{number:03}-{'n' * 60}").write_bytes(self.random.randbytes(self.random.choice([20, 3000])))
        (base / "one").write_bytes(self.random.randbytes(6 << 20))
        with self.open() as store:
            self._capture(store)
            capture(store, base / "one", "exp", "single")
            self._change()
            self._capture(store)

    def open(self) -> Store:
        """The store, as a process of its own would open it."""
        return open_store(self.base / "store", home=self.base / "home")

    def _capture(self, store: Store) -> None:
        version = capture(store, self.work, "exp", "tag").version
        now = snapshot(self.work)
        assert self.contents.setdefault(version.number, now) == now, f"version {version.number} is not what was there"

    def _change(self) -> None:
        """What training does between two captures: files change, come, go, and change their kind."""
        (self.work / "big").write_bytes(self.random.randbytes(self.random.randrange(1, 6 << 20)))
        for _ in range(30):
            path = self.work / f"{self.random.randrange(650):03}-{'n' * 60}"
            kind = self.random.randrange(4)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if kind == 0:
                path.mkdir()
                (path / "in").write_bytes(self.random.randbytes(2000))
            elif kind < 3:
                path.write_bytes(self.random.randbytes(self.random.choice([0, 20, 3000, 200_000])))

    def kill(self, action: str | None = None) -> str:
        """One child, killed; what it was doing. Raises AssertionError where anything is not as it should be."""
        action = action or self.random.choice(ACTIONS)
        spec = "exp/tag"
        if action == "capture":
            self._change()
        elif action == "update":
            spec = f"exp/tag@{self.random.choice(sorted(self.contents))}"
        elif action == "single":
            spec = "exp/single"
            (self.out / "file").unlink(missing_ok=True)
        else:
            shutil.rmtree(self.out / "here", ignore_errors=True)
        before = snapshot(self.work)
        self._run(action, spec)
        assert snapshot(self.work) == before, "the source was touched"
        self.verify(action, spec)
        return action

    def _run(self, action: str, spec: str) -> None:
        argument = "capture" if action == "capture" else "pull"
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, argument, str(self.base), spec], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            began = time.monotonic()
            time.sleep(self.random.uniform(0, 1.1 * self.lasted[action]))
            child.send_signal(signal.SIGKILL)
            took = child.stdout.read()
            if took:  # it was done
                self.lasted[action] = (self.lasted[action] + float(took)) / 2
            else:
                self.killed[action] += 1
                self.lasted[action] = max(self.lasted[action], 1.05 * (time.monotonic() - began))

    def verify(self, action: str, spec: str) -> None:
        """Everything that must hold after a kill."""
        with self.open() as store:
            found = [version.number for version in list_versions(store, "exp", "tag")]
            if action == "capture" and found[0] not in self.contents:
                self.contents[found[0]] = snapshot(self.work)  # it was complete when it was killed
            assert sorted(found) == sorted(self.contents), f"versions {found}, expected {sorted(self.contents)}"
            for number in {found[0], self.random.choice(found), self.random.choice(found)}:
                self._check(store, f"exp/tag@{number}", number)
            if action == "single":
                materialise(store, resolve(store, spec), self.out / "file")
                assert (self.out / "file").read_bytes() == (self.base / "one").read_bytes()
            elif action != "capture":
                number = resolve(store, spec).number
                if self.random.random() < 0.5:  # another one than that which was killed
                    number = self.random.choice(found)
                materialise(store, resolve(store, f"exp/tag@{number}"), self.out / "here")
                assert snapshot(self.out / "here") == self.contents[number], "the next pull gave something else"
            self._capture(store)
            self._change()
            self._capture(store)
        allowed = {"here", "file"}
        assert set(names(self.out)) <= allowed, f"left beside the destination: {set(names(self.out)) - allowed}"
        assert not [name for name in names(self.work) if "studio" in name]

    def _check(self, store: Store, spec: str, number: int) -> None:
        """A version pulls into a new folder, and is what was captured."""
        dest = self.base / "check" / os.urandom(4).hex()
        materialise(store, resolve(store, spec), dest)
        assert snapshot(dest) == self.contents[number], f"{spec} is not what was captured"
        assert names(dest.parent) == [dest.name]
        shutil.rmtree(dest.parent)

    def verify_all(self) -> None:
        """Every version there is."""
        with self.open() as store:
            for number in self.contents:
                self._check(store, f"exp/tag@{number}", number)


def main() -> int:
    """Run the soak, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(base, options.seed)
    rounds = 0
    while sum(soak.killed.values()) < options.kills:
        rounds += 1
        try:
            action = soak.kill()
        except BaseException:
            print(f"failed in round {rounds} with --seed {options.seed}; everything is in {base}")
            raise
        if rounds % 20 == 0:
            print(f"round {rounds}, {action}: {soak.killed} kills, {len(soak.contents)} versions", flush=True)
    soak.verify_all()
    print(
        f"{sum(soak.killed.values())} kills in {rounds} rounds {soak.killed}: {len(soak.contents)} versions are whole"
    )
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
