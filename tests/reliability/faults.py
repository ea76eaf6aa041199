"""Every request of captures, pulls and a collection fails in every way, one after the other: scenes, kinds, what holds.

What must hold: success, or one clear error and a store that verifies; never a wrong byte, a false conflict, or a
duplicate version; and the next call, with nothing wrong, brings it to its end: of a collection, to what is needed.
"""

from __future__ import annotations

import os
import random
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.reliability.folders import snapshot

from studio_cas.backends.gcs import GcsBackend
from studio_cas.backends.metered import Metered
from studio_cas.backends.probe import TRIALS, Probed
from studio_cas.backends.retrying import Budget, Retrying
from studio_cas.errors import ConflictError, StudioError
from studio_cas.formats import collection, hooks, keys
from studio_cas.ids import PackId
from studio_cas.store import guard
from studio_cas.store.collecting import collect
from studio_cas.store.reachability import packs_of
from studio_cas.store.store import open_store, probed_stores
from studio_cas.store.versions import list_versions, resolve
from studio_cas.testing.faulty_azure import ACCOUNT
from studio_cas.testing.faulty_http import BUCKET, Fault
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studio_cas.backends.bucket import Bucket
    from studio_cas.store.store import Store
    from studio_cas.testing.faulty_process import FaultyCloud

TIMEOUT = 0.5  # seconds without a sign of life
BUDGET = Budget(attempts=4, seconds=30.0, first=0.01, longest=0.05)
KEYS = {  # a file of keys for each cloud that needs one; they open nothing
    "s3": "[default]\naws_access_key_id = AKIATESTING\naws_secret_access_key = secret\n",
    "azure": "AZURE_STORAGE_KEY=c2VjcmV0\n",
}
KINDS = {
    "500": Fault("", status=500),
    "429": Fault("", status=429, headers={"Retry-After": "0"}),
    "403": Fault("", status=403, message="x@y does not have the access"),
    "hang": Fault("", "hang"),
    "reset before": Fault("", "drop"),
    "lost after": Fault("", "lose"),
    "reset after": Fault("", "reset"),
    "cut off": Fault("", "short"),
    "truncated": Fault("", "less"),
    "bit flipped on its way": Fault("", "damage"),
    "bit flipped in the answer": Fault("", "flip"),
    "slow": Fault("", "slow", pause=0.15),
}
SCENES = {  # the artifact of each, and the number of its last version when all went well
    "first capture": ("exp/tag", 1),
    "next capture": ("exp/tag", 2),
    "capture of another machine": ("exp/tag", 2),
    "capture of what another artifact has": ("exp/copy", 1),
    "pull": ("exp/tag", 2),
    "pull over an earlier version": ("exp/tag", 2),
    "collection": ("exp/tag", 2),
}
COLLECTION = "collection"
PULLS = ("pull", "pull over an earlier version")
UNMENDED = ("403", "bit flipped in the answer")  # what is not tried again
BY_KNOWN = ("next capture", "capture of what another artifact has")  # whose machine has captured before


@dataclass(frozen=True, slots=True)
class Case:
    """Request number `at` of a scene fails in a way; `forever`: all from there on."""

    scene: str
    at: int
    kind: str
    forever: bool

    def __str__(self) -> str:
        how = "from then on" if self.forever else "once"
        return f"{self.scene}: request {self.at}: {self.kind}, {how}"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case: whether a request was hit at all, and the error, if there was one."""

    hit: bool
    error: StudioError | None


class Matrix:
    """The scenes, prepared once in `base`; a case begins with its scene as it was."""

    def __init__(self, cloud: FaultyCloud, base: Path) -> None:
        self._cloud = cloud
        self._base = base
        self._work = base / "work"
        self._made = 0
        base.mkdir(exist_ok=True)
        self._keys = base / "keys"
        self._keys.write_text(KEYS.get(cloud.kind, ""))
        self._prepare()

    def _prepare(self) -> None:
        source = random.Random(1)
        (self._work / "sub").mkdir(parents=True)
        for number in range(6):
            (self._work / "sub" / f"small-{number}").write_bytes(source.randbytes(4000))
        (self._work / "big").write_bytes(source.randbytes(1_300_000))
        (self._work / "log").write_bytes(b"step 1\n" * 900)
        self._cloud.keep("first capture")
        with self._open(self._base / "nobody") as store:
            capture(store, self._work, "exp", "tag")
        for scene in ("next capture", "capture of another machine", "capture of what another artifact has"):
            self._cloud.keep(scene)
        self._earlier = snapshot(self._work)
        (self._work / "log").write_bytes(b"step 2\n" * 1800)
        (self._work / "sub" / "small-0").write_bytes(source.randbytes(5000))
        (self._work / "new").write_bytes(source.randbytes(150_000))
        shutil.copytree(self._base / "nobody", self._base / "known")
        with self._open(self._base / "nobody") as store:
            capture(store, self._work, "exp", "tag")
        for scene in PULLS:
            self._cloud.keep(scene)
        self._expected = snapshot(self._work)
        with self._open(self._base / "nobody") as store:
            self._litter(store)
        self._cloud.keep(COLLECTION)

    def _litter(self, store: Store) -> None:
        """What nobody needs, of every kind."""
        for tree in (False, True):
            for _ in range(3):
                store.backend.create(keys.pack(PackId.random(), tree=tree), [b"litter"])
        guard.create_pin(store, frozenset([PackId.random()]))
        store.backend.create(f"{keys.HOOKS}{0:014}-00000000", [hooks.encode([(bytes(32), PackId.random())])])
        store.backend.create(f"{TRIALS}{'0' * 32}", [b"litter"])
        store.backend.create(keys.condemned_list(1), [collection.encode([PackId.random()])])

    def requests(self, scene: str) -> int:
        """How many requests the scene takes when nothing goes wrong."""
        self._cloud.restore(scene)
        home, out = self._home(scene), self._fresh("out")
        self._begin(scene, home, out)
        self._attempt(scene, home, out)
        return self._cloud.calm()[0]

    def run(self, case: Case) -> Result:
        """Run a case, and check what must hold."""
        home, out = self._home(case.scene), self._fresh("out")
        self._cloud.restore(case.scene)
        self._begin(case.scene, home, out)
        self._cloud.plan(KINDS[case.kind], case.at, forever=case.forever)
        error = self._attempt(case.scene, home, out)
        hit = self._cloud.calm()[1] > 0
        assert hit or error is None, f"{error!r} without a fault"
        assert not isinstance(error, ConflictError), f"a false conflict: {error}"
        assert error is None or (str(error) and "\n" not in str(error)), f"not one sentence: {error!r}"
        assert case.kind != "slow" or error is None, f"slow is no failure: {error!r}"
        assert case.forever or case.kind in UNMENDED or error is None, f"not mended: {error}"
        self._check(
            case.scene, out, done=error is None and not (hit and case.scene == COLLECTION and "flip" in case.kind)
        )
        again = self._attempt(case.scene, home, out)
        assert again is None, f"the next call fails: {again!r}"
        self._check(case.scene, out, done=True)
        for path in (home, out):
            shutil.rmtree(path)
        return Result(hit, error)

    def _check(self, scene: str, out: Path, *, done: bool) -> None:
        """The store, and the destination of a pull, are as they were or as they should be."""
        if scene == COLLECTION:
            self._check_collected(done=done)
            return
        assert self._cloud.intact(scene), "what was there has changed"
        if scene in PULLS:
            self._check_pulled(out / "here", done=done, fresh=scene == "pull")
            return
        name, last = SCENES[scene]
        with self._open(self._fresh("reader"), create=done) as store:
            numbers = [version.number for version in list_versions(store, *name.split("/"))] if store else []
            expected = list(range(last, 0, -1))
            assert numbers in ([expected] if done else [expected, expected[1:]]), f"versions {numbers}"
            if store and numbers == expected:
                target = self._fresh("copy")
                materialise(store, resolve(store, f"{name}@{last}"), target / "here")
                assert snapshot(target / "here") == self._expected
                shutil.rmtree(target)

    def _check_collected(self, *, done: bool) -> None:
        """Every version is whole; with `done`, nothing is in the store that none needs."""
        with self._open(self._fresh("reader")) as store:
            assert store is not None
            needed = set()
            for number, expected in ((1, self._earlier), (2, self._expected)):
                version = resolve(store, f"exp/tag@{number}")
                needed |= packs_of(store, version)
                target = self._fresh("copy")
                materialise(store, version, target / "here")
                assert snapshot(target / "here") == expected
                shutil.rmtree(target)
            found = {one.key for one in store.backend.list("")}
            packs = {key for key in found if key.startswith((keys.PACKS, keys.TREES))}
            assert {keys.pack_id_of(key) for key in packs} >= needed
            if done:
                assert {keys.pack_id_of(key) for key in packs} == needed
                assert not [key for key in found if key.startswith((keys.PINS, keys.HOOKS, TRIALS))]

    def _check_pulled(self, here: Path, *, done: bool, fresh: bool) -> None:
        """A destination is whole; after an error it is not there, or each file in it is the earlier one or the new."""
        if done or not fresh:
            found = snapshot(here)
            if done:
                assert found == self._expected
            for path, content in found.items():
                if path.startswith(b".studio-partial"):  # what was built so far: the next pull goes on with it
                    continue
                assert content in {self._expected.get(path), self._earlier.get(path)}, f"wrong bytes in {path!r}"
        else:
            assert not os.path.lexists(here)

    def _begin(self, scene: str, home: Path, out: Path) -> None:
        """What a scene needs to be there before its requests count."""
        if scene == "pull over an earlier version":
            with self._open(home) as store:
                materialise(store, resolve(store, "exp/tag@1"), out / "here")
        self._cloud.calm()

    def _attempt(self, scene: str, home: Path, out: Path) -> StudioError | None:
        try:
            with self._open(home) as store:
                name, _ = SCENES[scene]
                if scene == COLLECTION:
                    collect(store, grace=0)
                elif scene in PULLS:
                    materialise(store, resolve(store, name), out / "here")
                else:
                    capture(store, self._work, *name.split("/"))
        except StudioError as error:
            return error
        return None

    @contextmanager
    def _open(self, home: Path, *, create: bool = True) -> Iterator[Store | None]:
        """The store; without `create`, None where there is none yet."""
        backend = Retrying(Probed(Metered(self._bare()), probed_stores(home)), BUDGET, unmet=BUDGET)
        try:
            opened = open_store(backend, home=home, create=create)
        except StudioError:
            if create:
                raise
            yield None
            return
        with opened:
            yield opened

    def _bare(self) -> Bucket:
        if self._cloud.kind == "gcs":
            return GcsBackend(BUCKET, "team", endpoint=self._cloud.endpoint, project="p", timeout=TIMEOUT)
        if self._cloud.kind == "azure":
            from studio_cas.backends.azure import AzureBackend

            account = f"{self._cloud.endpoint}/{ACCOUNT}"
            return AzureBackend(BUCKET, "team", endpoint=account, credentials=self._keys, timeout=TIMEOUT)
        from studio_cas.backends.s3 import S3Backend

        return S3Backend(BUCKET, "team", endpoint=self._cloud.endpoint, credentials=self._keys, timeout=TIMEOUT)

    def _home(self, scene: str) -> Path:
        home = self._fresh("home")
        if scene in BY_KNOWN:
            shutil.copytree(self._base / "known", home, dirs_exist_ok=True)
        return home

    def _fresh(self, name: str) -> Path:
        self._made += 1
        path = self._base / f"{name}-{self._made}"
        path.mkdir()
        return path
