"""Any sequence of captures, absences, other writers and kills at any step: every version goes up, once, in order."""

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.reliability.folders import snapshot

from studio_cas.backends.local import LocalBackend
from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.spooling import Spooling
from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, TransientError
from studio_cas.formats import keys, version
from studio_cas.store.draining import IDLE
from studio_cas.store.spool_folder import spool_folder
from studio_cas.store.spooled import RULES, open_with
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import list_versions
from studio_cas.testing.moody_backend import Deaths, KilledError, Moody
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # every step syncs to the disk
TAGS = ("one", "two")
REASONS = (TransientError("no network"), PermissionDeniedError("revoked"), StoreUnavailableError("no bucket"))


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.base = Path(tempfile.mkdtemp(dir=MEMORY))
        self.deaths = Deaths()
        self.remote = Moody(MemoryBackend("moody"), self.deaths)
        self.now = 1000.0
        self.fresh = 0
        self.here = None
        self.elsewhere = open_store(self.remote.inner, home=self.base / "elsewhere")
        self.ours = {tag: [] for tag in TAGS}  # (the random name of the writer, what the version holds), in order
        self.theirs = dict.fromkeys(TAGS, 0)
        for tag in (*TAGS, "theirs"):
            (self.base / tag).mkdir()
        self.open()

    def open(self):
        if self.here is not None:
            self.here.close()
        home = self.base / "home"
        folder = spool_folder(home, self.remote.url)
        disk = Moody(LocalBackend(folder), self.deaths)
        clock = {"clock": lambda: self.now, "wall": lambda: self.now, "jitter": lambda: 1.0}
        spool = Spooling(self.remote, folder, rules=RULES, budget=lambda _used: 1 << 30, disk=disk, **clock)
        self.here = open_with(spool, home)
        self.here.drainer._at_once = 1  # kills at a certain step are repeatable

    def teardown(self):
        if hasattr(self, "base"):
            try:
                self.settle()
            finally:
                self.here.close()
                self.elsewhere.close()
                shutil.rmtree(self.base)

    def write_something(self, folder, number, size):
        (folder / f"file-{number}").write_bytes(random.Random(self.fresh).randbytes(size))
        self.fresh += 1

    @rule(tag=st.sampled_from(TAGS), number=st.integers(0, 3), size=st.sampled_from([0, 20, 3000, 200_000]))
    def write(self, tag, number, size):
        self.write_something(self.base / tag, number, size)

    @rule(tag=st.sampled_from(TAGS))
    def copy_from_the_other(self, tag):
        for path in (self.base / TAGS[tag == TAGS[0]]).iterdir():
            shutil.copy(path, self.base / tag / path.name)

    @rule(tag=st.sampled_from(TAGS))
    def capture(self, tag):
        answers = self.remote.error is None or self.remote.patience
        try:
            made = capture(self.here, self.base / tag, "exp", tag, user="us")
        except StoreUnavailableError:  # it went just before, or after, the version: what is condemned was not heard
            assert answers
            self.account(tag)
        else:
            if made.created:
                self.ours[tag].append((made.version.writer, snapshot(self.base / tag)))

    @rule(tag=st.sampled_from(TAGS), steps=st.integers(0, 25), after=st.booleans())
    def capture_and_die(self, tag, steps, after):
        self.deaths.arm(steps, after=after)
        try:
            self.capture(tag)
        except KilledError:
            self.deaths.disarm()
            self.open()
            self.account(tag)
        self.deaths.disarm()

    @rule(tag=st.sampled_from(TAGS))
    def somebody_else_publishes(self, tag):
        self.write_something(self.base / "theirs", 0, 20)
        assert capture(self.elsewhere, self.base / "theirs", "exp", tag, user="them").created
        self.theirs[tag] += 1

    @rule(reason=st.sampled_from(REASONS), calls=st.integers(0, 12), loses_answers=st.booleans())
    def go_away(self, reason, calls, loses_answers):
        """At once, or in the middle of what comes next; a request that was sent may have been heard."""
        self.remote.error, self.remote.patience = reason, calls
        self.remote.loses_answers = loses_answers and isinstance(reason, TransientError)

    @rule(
        tag=st.sampled_from(TAGS),
        ours=st.integers(1, 3),
        theirs=st.integers(0, 2),
        kills=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=3),
    )
    def versions_wait_while_others_publish_and_then_sending_dies(self, tag, ours, theirs, kills):
        self.go_away(REASONS[0], 0, loses_answers=False)
        for _ in range(ours):
            self.write_something(self.base / tag, 0, 3000)
            self.capture(tag)
        for _ in range(theirs):
            self.somebody_else_publishes(tag)
        self.come_back()
        for steps, after in kills:
            self.time_passes_until_death(steps, after)

    @rule(tag=st.sampled_from(TAGS), calls=st.integers(0, 12), loses_answers=st.booleans())
    def the_store_leaves_during_a_capture(self, tag, calls, loses_answers):
        self.write_something(self.base / tag, 1, 3000)
        self.go_away(REASONS[0], calls, loses_answers)
        self.capture(tag)

    @rule()
    def come_back(self):
        self.remote.error = None

    @rule()
    def time_passes(self):
        self.now += 61
        self.here.drainer.step()

    @rule(steps=st.integers(0, 30), after=st.booleans())
    def time_passes_until_death(self, steps, after):
        self.deaths.arm(steps, after=after)
        try:
            self.time_passes()
        except KilledError:
            self.deaths.disarm()
            self.open()
        self.deaths.disarm()

    @rule()
    def restart(self):
        self.open()

    @precondition(lambda self: self.here is not None)
    @rule()
    def settle(self):
        self.remote.error = None
        self.now += 61
        assert self.here.drainer.step() == IDLE
        state = self.here.state()
        assert (state.objects, state.since, state.aside) == (0, None, ())
        for tag in TAGS:
            found = sorted(list_versions(self.elsewhere, "exp", tag), key=lambda made: made.number)
            assert [made.number for made in found] == list(range(1, len(found) + 1))
            assert sum(made.user == "them" for made in found) == self.theirs[tag]
            ours = [made for made in found if made.user == "us"]
            assert [made.writer for made in ours] == [writer for writer, _ in self.ours[tag]]
            for made, (_, state) in zip(ours, self.ours[tag], strict=True):
                with (
                    tempfile.TemporaryDirectory(dir=MEMORY) as out,
                    open_store(self.remote.inner, home=Path(out) / "home") as new,
                ):
                    materialise(new, made, Path(out) / "pulled")
                    assert snapshot(Path(out) / "pulled") == state

    def account(self, tag):
        """A capture did not end: it made one version, in the store or in the queue, or none."""
        there = [made.writer for made in list_versions(self.elsewhere, "exp", tag) if made.user == "us"]
        queue = self.here.spool.queue
        waiting = [version.decode(bytes(queue.read(item))) for item in queue.listed(keys.versions("exp", tag))]
        known = {writer for writer, _ in self.ours[tag]}
        made = dict.fromkeys([*there, *(made.writer for made in waiting)]).keys() - known
        assert len(made) <= 1
        self.ours[tag] += [(writer, snapshot(self.base / tag)) for writer in made]

    @invariant()
    def no_version_lacks_its_bytes(self):
        if self.here is None:
            return
        there = {found.key for found in self.remote.inner.list("")}
        for tag in TAGS:
            for made in list_versions(self.elsewhere, "exp", tag):
                packs = TreeReader(self.elsewhere, made).root.packs
                assert {keys.pack(pack) for pack in packs} <= there
                assert {keys.pack(pack, tree=True) for pack in made.tree_packs} <= there


TestSpoolMachine = Machine.TestCase
TestSpoolMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
