"""The store dies at each of its calls in turn, before or after its effect: nothing that was there is lost."""

import os
import threading
import time

import pytest
from tests.reliability.folders import fill, names, snapshot

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import StudioError, TransientError
from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions, resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

CALLS = ("create", "read", "read_tail", "stat", "list", "list_names", "delete")
PATIENCE = 30  # seconds that a capture or pull may take; they take a tenth of one


class Faulty:
    """A memory store that fails at its k-th call, counted from `arm`, before or after the call had its effect."""

    def __init__(self):
        self.inner = MemoryBackend()
        self.lock = threading.Lock()
        self.left = None
        self.after = False
        self.forever = False
        self.calls = 0

    def arm(self, at, *, after, forever=False):
        """Fail at call number `at`, and with `forever` at each one after it."""
        self.left, self.after, self.forever = at, after, forever

    def disarm(self):
        self.left = None

    def _fails(self):
        with self.lock:
            self.calls += 1
            if self.left is None:
                return False
            self.left -= 1
            return self.left < 0 if self.forever else self.left == -1

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        if name not in CALLS:
            return found

        def call(*arguments, **options):
            fails = self._fails()
            if fails and not self.after:
                raise TransientError(f"{name} never arrived")
            answer = found(*arguments, **options)
            if fails:
                raise TransientError(f"the answer of {name} was lost")
            return answer

        return call


@pytest.fixture
def backend():
    return Faulty()


@pytest.fixture
def store(backend, home):
    with open_store(backend, home=home) as opened:
        yield opened


def threads():
    return {thread for thread in threading.enumerate() if not thread.name.startswith("pydev")}


def in_time(work):
    """Run `work` in a thread that must end, and leave no thread behind; what it raised of ours, or None."""
    raised = []

    def run():
        try:
            work()
        except StudioError as error:
            raised.append(error)
        except BaseException as error:  # noqa: BLE001 (told below)
            raised.append(AssertionError(repr(error)))

    before = threads()
    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(PATIENCE)
    assert not worker.is_alive(), "it hangs"
    until = time.monotonic() + 2
    while threads() - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not threads() - before, "a thread is left"
    for error in raised:
        assert isinstance(error, StudioError), error
    return raised[0] if raised else None


def pulls(store, out, expected):
    """Every version is what was captured as it."""
    found = {version.number: version for version in list_versions(store, "exp", "tag")}
    assert set(expected) <= set(found)
    for number, content in expected.items():
        dest = out / f"check-{number}-{os.urandom(4).hex()}"
        materialise(store, found[number], dest)
        assert snapshot(dest) == content


def many(work):
    """Enough entries for a tree pack, and enough bytes for two data packs."""
    for number in range(1200):
        (work / f"{number:04}-{'x' * 40}").write_bytes(b"%d" % number)
    fill(work, big=36 << 20)


def count(backend, work):
    before = backend.calls
    work()
    return backend.calls - before


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_capture_that_dies_at_any_call(tmp_path, out, work, after, forever):
    fill(work, big=400_000)
    first = snapshot(work)
    at = 0
    while True:
        backend = Faulty()
        fill(work, big=400_000)
        with open_store(backend, home=tmp_path / f"home-{at}") as store:
            capture(store, work, "exp", "tag")
            (work / "big").write_bytes(os.urandom(500_000))
            (work / "sub" / "small-0").write_bytes(os.urandom(3000))
            second = snapshot(work)
            backend.arm(at, after=after, forever=forever)
            error = in_time(lambda store=store: capture(store, work, "exp", "tag"))
            reached = backend.left < 0
            backend.disarm()
            assert reached or error is None
            pulls(store, out, {1: first})
            again = capture(store, work, "exp", "tag")
            assert again.version.number == 2
            pulls(store, out, {1: first, 2: second})
            assert not capture(store, work, "exp", "tag").created
        if not reached:
            break
        at += 1
    assert at >= 4


def test_a_capture_of_many_packs_that_dies_at_any_call(tmp_path, out, work):
    many(work)
    expected = snapshot(work)
    at, reached = 0, True
    while reached:
        backend = Faulty()
        with open_store(backend, home=tmp_path / f"home-{at}") as store:
            backend.arm(at, after=bool(at % 2))
            error = in_time(lambda store=store: capture(store, work, "exp", "tag"))
            reached = backend.left < 0
            backend.disarm()
            assert reached or error is None
            assert capture(store, work, "exp", "tag").version.number == 1
            if at % 3 == 0:
                pulls(store, out, {1: expected})
        at += 1
    assert at >= 6


def test_chunks_of_a_capture_that_died_are_not_taken_for_stored(store, backend, work, out):
    """The catalog must not learn a pack that never arrived."""
    fill(work)
    for at in range(20):
        backend.arm(at, after=False, forever=True)
        error = in_time(lambda: capture(store, work, "exp", "tag"))
        backend.disarm()
        if error is None:
            break
    capture(store, work, "exp", "tag")
    pulls(store, out, {1: snapshot(work)})


def test_a_lost_answer_to_the_commit_makes_no_second_version(store, backend, work, out):
    fill(work)
    calls = count(backend, lambda: capture(store, work, "exp", "other"))
    for at in range(calls + 3):
        backend.arm(at, after=True)
        in_time(lambda: capture(store, work, "exp", "tag"))
        backend.disarm()
    assert capture(store, work, "exp", "tag").version.number == 1
    assert len(list(list_versions(store, "exp", "tag"))) == 1
    pulls(store, out, {1: snapshot(work)})


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
def test_a_fresh_pull_that_dies_at_any_call(store, backend, work, out, forever):
    many(work)
    version = capture(store, work, "exp", "tag").version
    expected = snapshot(work)
    at, reached = 0, True
    while reached:
        dest = out / "here"
        backend.arm(at, after=bool(at % 2), forever=forever)
        error = in_time(lambda dest=dest: materialise(store, version, dest))
        reached = backend.left < 0
        backend.disarm()
        assert reached or error is None
        if error is not None:
            assert not dest.exists()
        materialise(store, version, dest)
        assert snapshot(dest) == expected
        assert names(out) == ["here"]
        dest.rename(out.parent / f"done-{at}")
        at += 1
    assert at >= 3


def test_an_update_that_dies_at_any_call_changes_nothing(store, backend, work, out):
    fill(work, big=400_000)
    old = capture(store, work, "exp", "tag").version
    before = snapshot(work)
    (work / "big").write_bytes(os.urandom(800_000))
    (work / "new").write_bytes(os.urandom(5000))
    (work / "tiny").unlink()
    new = capture(store, work, "exp", "tag").version
    after = snapshot(work)
    at, reached = 0, True
    while reached:
        dest = out / "here"
        materialise(store, old, dest)
        assert snapshot(dest) == before
        backend.arm(at, after=bool(at % 2))
        error = in_time(lambda dest=dest: materialise(store, new, dest))
        reached = backend.left < 0
        backend.disarm()
        assert reached or error is None
        if error is not None:
            assert snapshot(dest).items() >= before.items()
        materialise(store, new, dest)
        assert snapshot(dest) == after
        assert names(out) == ["here"]
        at += 1
    assert at >= 1


def test_opening_a_store_that_dies_at_any_call(tmp_path, work):
    fill(work, big=100_000)
    for at in range(8):
        backend = Faulty()
        backend.arm(at, after=bool(at % 2))
        try:
            open_store(backend, home=tmp_path / "home").close()
        except StudioError:
            backend.disarm()
        backend.disarm()
        with open_store(backend, home=tmp_path / "home") as store:
            capture(store, work, "exp", "tag")
            assert resolve(store, "exp/tag").number == 1
