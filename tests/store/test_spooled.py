"""Captures while the store is away, and what becomes of them when it is back."""

import random
import shutil
import threading

import pytest
from tests.reliability.folders import fill, snapshot

from studio_cas.backends.local import LocalBackend
from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.spool_queue import locked
from studio_cas.backends.spooling import Spooling
from studio_cas.errors import NoSpaceError, PermissionDeniedError, StoreUnavailableError, TransientError
from studio_cas.formats import collection, keys
from studio_cas.store.draining import BUSY, IDLE, Drainer
from studio_cas.store.spool_folder import spool_folder
from studio_cas.store.spooled import RULES, open_spooled, open_with, spool_state
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import latest, list_versions, resolve
from studio_cas.testing.moody_backend import Moody
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise
from studio_cas.worktree.remembered import learn

GONE = TransientError("connection refused")
REVOKED = PermissionDeniedError("the credential was revoked")
NO_BUCKET = StoreUnavailableError("the bucket b does not exist")


@pytest.fixture
def remote():
    return Moody()


@pytest.fixture
def work(tmp_path):
    return fill(tmp_path / "work", big=300_000)


class Here:
    """This machine: a home, a clock, and an open store with its spool."""

    def __init__(self, remote, home):
        self.remote, self.home, self.now = remote, home, 1000.0
        self.store = None
        self.open()

    def open(self, budget=None, **options):
        if self.store:
            self.store.close()
        folder = spool_folder(self.home, self.remote.url)
        clock = {"clock": lambda: self.now, "wall": lambda: self.now, "jitter": lambda: 1.0}
        spool = Spooling(self.remote, folder, rules=RULES, budget=budget, **clock, **options)
        self.store = open_with(spool, self.home)
        return self.store

    def back(self):
        """The store is back, and everything goes up."""
        self.remote.error = None
        self.now += 61
        assert self.store.drainer.step() == IDLE
        assert self.store.spool.queue.is_empty()

    def capture(self, work, name="exp/tag", **options):
        return capture(self.store, work, *name.split("/"), **options)


@pytest.fixture
def here(remote, tmp_path):
    made = Here(remote, tmp_path / "home")
    yield made
    made.store.close()


@pytest.fixture
def elsewhere(remote, tmp_path):
    """Another machine, which the store always answers."""
    with open_store(remote.inner, home=tmp_path / "elsewhere") as store:
        yield store


def numbers(store, name="exp/tag"):
    return [found.number for found in list_versions(store, *name.split("/"))]


def pulled(store, name, dest):
    materialise(store, resolve(store, name), dest, force=True, links="allow")
    return snapshot(dest)


@pytest.mark.parametrize("error", [GONE, REVOKED, NO_BUCKET])
@pytest.mark.parametrize("known", [True, False])
def test_versions_that_were_made_while_the_store_was_away_go_up_in_order(here, elsewhere, work, tmp_path, error, known):
    if known:
        here.capture(work)
    here.remote.error = error
    states = []
    for step in range(3):
        (work / "sub" / "small-3").write_bytes(b"step %d" % step)
        (work / f"new-{step}").write_bytes(bytes([step]) * 200_000)
        made = here.capture(work)
        assert (made.created, made.version.number) == (True, step + 1 + known)
        assert not here.capture(work).created
        states.append(snapshot(work))
    waiting = here.store.state()
    assert waiting.versions == tuple(f"exp/tag@{step + 1 + known}" for step in range(3))
    assert (waiting.since, waiting.kind, waiting.reason) == (1000.0, error.kind, str(error))
    assert waiting.bytes > 600_000 * 0.001
    assert spool_state(here.home, here.remote.url).versions == waiting.versions
    assert numbers(elsewhere) == ([1] if known else [])
    here.back()
    assert numbers(elsewhere) == list(range(3 + known, 0, -1))
    for step, state in enumerate(states):
        assert pulled(elsewhere, f"exp/tag@{step + 1 + known}", tmp_path / f"out-{step}") == state
    after = here.store.state()
    assert (after.since, after.objects, after.bytes, after.versions) == (None, 0, 0, ())
    assert not list(elsewhere.backend.list(keys.PINS))


def test_a_large_tree_whose_root_lies_in_a_pack_is_captured_again_while_away(here, elsewhere, work, tmp_path):
    for number in range(9000):
        (work / f"file with a rather long name, number {number:05}").write_bytes(b"%d" % number)
    first = here.capture(work)
    assert first.version.tree.place is not None or first.version.tree_packs
    here.open()
    here.remote.error = GONE
    (work / "file with a rather long name, number 04321").write_bytes(b"changed")
    (work / "a new one").write_bytes(b"new" * 5000)
    assert here.capture(work).version.number == 2
    here.back()
    assert pulled(elsewhere, "exp/tag", tmp_path / "out") == snapshot(work)


def test_a_number_that_somebody_took_meanwhile_becomes_the_next_free_one(here, elsewhere, work, tmp_path):
    here.capture(work)
    here.remote.error = GONE
    states = []
    for step in range(3):
        (work / "tiny").write_bytes(b"%d" % step)
        here.capture(work)
        states.append(snapshot(work))
    theirs = fill(tmp_path / "theirs", 7, big=1000)
    for step in range(2):
        (theirs / "tiny").write_bytes(b"theirs %d" % step)
        capture(elsewhere, theirs, "exp", "tag")
    here.back()
    assert numbers(elsewhere) == [6, 5, 4, 3, 2, 1]
    found = {version.number: version for version in list_versions(elsewhere, "exp", "tag")}
    assert [found[number].parent for number in (4, 5, 6)] == [1, 4, 5]
    for step, state in enumerate(states):
        assert pulled(elsewhere, f"exp/tag@{step + 4}", tmp_path / f"out-{step}") == state
    (work / "tiny").write_bytes(b"after")
    assert here.capture(work).version.number == 7


def test_an_answer_that_was_lost_makes_no_second_version(here, elsewhere, work):
    here.remote.error, here.remote.loses_answers = GONE, True
    here.capture(work)
    assert here.store.state().objects
    here.back()
    assert numbers(elsewhere) == [1]


def test_a_process_that_ended_leaves_what_waits_to_the_next_one(here, elsewhere, work):
    here.remote.error = GONE
    here.capture(work)
    here.open()
    assert latest(here.store, "exp", "tag").number == 1
    (work / "tiny").write_bytes(b"more")
    assert here.capture(work).version.number == 2
    here.open()
    here.back()
    assert numbers(elsewhere) == [2, 1]


def test_only_one_process_sends(here, work):
    here.remote.error = GONE
    here.capture(work)
    here.remote.error = None
    here.now += 61
    with locked(here.store.spool.folder, "drain"):
        assert here.store.drainer.step() == BUSY
        assert here.store.state().objects
    assert here.store.drainer.step() == IDLE


def test_what_is_captured_while_the_queue_goes_up_goes_up_behind_it(here, elsewhere, work):
    here.remote.error = GONE
    here.capture(work)
    here.remote.error = None
    here.now += 61
    send, sent = Drainer._send, []

    def slowly(drainer, item, session):
        if not sent:
            sent.append(item.key)
            (work / "tiny").write_bytes(b"meanwhile")
            assert here.capture(work).version.number == 2
            assert here.store.state().versions == ("exp/tag@1", "exp/tag@2")
        send(drainer, item, session)

    here.store.drainer._send = slowly.__get__(here.store.drainer)
    assert here.store.drainer.step() == IDLE
    assert sent
    assert numbers(elsewhere) == [2, 1]


def test_a_store_this_machine_never_saw_cannot_be_opened_while_it_is_away(remote, tmp_path):
    remote.error = GONE
    with pytest.raises(TransientError, match=r"is away since .*: connection refused"):
        open_spooled(remote, home=tmp_path / "home")


def test_a_credential_that_may_only_read_keeps_versions_here_and_does_not_spin(here, work):
    create = here.remote.inner.create
    here.capture(work)
    (work / "tiny").write_bytes(b"more")

    def refuse(key, parts):
        raise PermissionDeniedError("may not create")

    here.remote.inner.create = refuse
    here.capture(work)
    pauses = []
    for _ in range(9):
        here.now += here.store.spool.breaker.pause()
        pauses.append(here.store.drainer.step())
        assert here.store.state().since == 1000.0
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert here.store.state().kind == "permission_denied"
    here.remote.inner.create = create
    here.back()


def test_another_store_in_the_place_of_the_old_one_gets_nothing(here, work, tmp_path):
    here.remote.error = GONE
    here.capture(work)
    old, here.remote.inner, here.remote.error = here.remote.inner, MemoryBackend("moody"), None
    here.now += 61
    here.store.drainer.step()
    assert "is no store any more" in here.store.state().reason
    open_store(here.remote.inner, home=tmp_path / "elsewhere").close()
    here.now += 61
    here.store.drainer.step()
    assert "is another store than the one" in here.store.state().reason
    here.open()
    (work / "tiny").write_bytes(b"more")
    assert here.capture(work).version.number == 2
    here.remote.inner = old
    here.back()
    assert numbers(here.store) == [2, 1]


def test_a_store_that_is_gone_and_for_which_nothing_waits_is_begun_anew(here, work):
    here.capture(work)
    here.remote.inner = MemoryBackend("moody")
    here.open()
    assert here.capture(work).version.number == 1
    assert here.remote.inner.stat(keys.FORMAT).size


def test_a_used_up_budget_keeps_what_waits_and_says_so(here, elsewhere, work):
    here.open(budget=lambda _used: 500_000)
    here.remote.error = GONE
    here.capture(work)
    (work / "big").write_bytes(random.Random(3).randbytes(400_000))
    with pytest.raises(NoSpaceError, match="at most 500,000 may"):
        here.capture(work)
    assert "at most 500,000 may" in here.store.state().full
    assert here.store.state().versions == ("exp/tag@1",)
    here.back()
    assert here.store.state().full is None
    assert here.capture(work).version.number == 2
    assert numbers(elsewhere) == [2, 1]


def test_a_direct_capture_stores_again_what_still_waits(here, work, tmp_path):
    here.remote.error = GONE
    here.capture(work)
    here.remote.error = None
    with open_store(here.remote, home=here.home) as direct:
        made = capture(direct, work, "exp", "direct")
        assert made.bytes_stored > 300_000 * 0.9
    with open_store(here.remote.inner, home=tmp_path / "elsewhere") as store:
        assert pulled(store, "exp/direct", tmp_path / "out") == snapshot(work)


def adopt_while_away(here, elsewhere, work, tmp_path):
    """A version waits that shares a pack with one of somebody else, who removes his meanwhile."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(work / "big", theirs / "big")
    made = capture(elsewhere, theirs, "them", "data")
    for _, leaf in TreeReader(here.store, made.version).leaves():
        learn(here.store, leaf, frozenset())
    here.remote.error = GONE
    result = here.capture(work)
    assert result.bytes_stored < 200_000


@pytest.mark.parametrize("condemned", [True, False])
def test_a_version_whose_packs_were_removed_is_set_aside_and_the_next_capture_stores_them(
    here, elsewhere, work, tmp_path, condemned
):
    adopt_while_away(here, elsewhere, work, tmp_path)
    inner = here.remote.inner
    for found in list(inner.list(keys.VERSIONS)):
        inner.delete(found.key)
    packs = [keys.pack_id_of(found.key) for found in inner.list(keys.PACKS)]
    if condemned:
        inner.create(keys.condemned_list(1), [collection.encode(packs)])
    else:
        for pack in packs:
            inner.delete(keys.pack(pack))
    here.back()
    (aside,) = here.store.state().aside
    assert aside.startswith("exp/tag@1: a pack that it shares with versions of others went")
    assert numbers(elsewhere) == []
    made = here.capture(work)
    assert (made.created, made.bytes_stored > 200_000) == (True, True)
    for pack in packs:
        if condemned:
            inner.delete(keys.pack(pack))
    assert pulled(elsewhere, "exp/tag", tmp_path / "out") == snapshot(work)
    assert here.store.state().aside == ()


def test_a_version_that_went_up_at_once_is_acknowledged_by_no_list_from_memory(here, work, monkeypatch):
    """The store goes away before the condemned lists are read, and something else begins to wait at that moment."""
    here.capture(work)
    (work / "new").write_bytes(b"new" * 50_000)
    create = here.remote.inner.create

    def and_go_away(key, parts):
        create(key, parts)
        if key.startswith(keys.VERSIONS):
            here.remote.error = GONE
            here.store.spool.went_away(GONE)
            here.store.backend.create(f"{keys.EXPERIMENTS}other/attempts/0001/ended", [b"{}"])

    monkeypatch.setattr(here.remote.inner, "create", and_go_away)
    with pytest.raises(TransientError):
        here.capture(work)


def test_an_artifact_that_did_not_change_while_nobody_can_say_whether_its_version_counts_waits_again(
    here, elsewhere, work, tmp_path
):
    """This machine saw the version of another one, and does not know whether that one was acknowledged."""
    capture(elsewhere, work, "exp", "tag")
    assert latest(here.store, "exp", "tag").number == 1
    here.remote.error = GONE
    assert here.capture(work).version.number == 2
    here.back()
    assert numbers(elsewhere) == [2, 1]
    assert pulled(elsewhere, "exp/tag", tmp_path / "out") == snapshot(work)


def test_what_was_set_aside_is_forgotten_when_a_later_version_went_up(here, elsewhere, work, tmp_path):
    adopt_while_away(here, elsewhere, work, tmp_path)
    for found in list(here.remote.inner.list(keys.PACKS)):
        here.remote.inner.delete(found.key)
    here.back()
    assert here.store.state().aside
    here.remote.error = GONE
    here.store.spool.went_away(GONE)
    here.capture(work)
    here.back()
    assert here.store.state().aside == ()


def test_packs_that_wait_or_are_needed_are_pinned_while_they_go_up(here, work):
    here.remote.error = GONE
    made = here.capture(work)
    publish, seen = Drainer._publish, []

    def watch(drainer, item, *arguments):
        pins = [collection.decode(here.remote.read(found.key)) for found in here.remote.list(keys.PINS)]
        seen.append(frozenset().union(*pins))
        publish(drainer, item, *arguments)

    here.store.drainer._publish = watch.__get__(here.store.drainer)
    here.back()
    needed = {keys.pack_id_of(found.key) for found in here.remote.list(keys.PACKS)}
    assert needed
    assert seen == [needed]
    assert made.version.number == 1


def test_a_pin_that_somebody_removed_is_noticed_before_the_version_counts(here, work):
    here.remote.error = GONE
    here.capture(work)
    here.remote.error = None
    here.now += 61
    create = here.store.drainer._create_version

    def created(item, renumbering):
        key = create(item, renumbering)
        inner = here.remote.inner
        for pin in list(inner.list(keys.PINS)):
            inner.delete(pin.key)
        packs = [keys.pack_id_of(found.key) for found in inner.list(keys.PACKS)]
        inner.create(keys.condemned_list(1), [collection.encode(packs)])
        return key

    here.store.drainer._create_version = created
    here.store.drainer.step()
    assert here.store.state().aside
    assert here.store.absent()


def test_a_record_of_a_run_that_is_there_with_other_words_stays_and_ours_is_set_aside(here):
    here.remote.error = GONE
    key = f"{keys.EXPERIMENTS}exp/attempts/0001/ended"
    here.store.backend.create(key, [b"finished"])
    with pytest.raises(TransientError):
        here.store.backend.create(f"{keys.EXPERIMENTS}exp/owner", [b"me"])
    here.remote.inner.create(key, [b"lost"])
    here.back()
    assert bytes(here.remote.read(key)) == b"lost"
    assert here.store.state().aside == (f"{key}: {key} is in the store already, with other bytes",)


def test_the_thread_sends_what_waits_as_soon_as_the_store_is_back(remote, work, tmp_path):
    with open_spooled(remote, home=tmp_path / "home") as store:
        store.start()
        remote.error = GONE
        capture(store, work, "exp", "tag")
        assert store.flush(0.2).versions == ("exp/tag@1",)
        remote.error = None
        assert store.flush(60).objects == 0
        assert numbers(store) == [1]
        assert not store.state().since
    assert not [thread for thread in threading.enumerate() if thread.name == "drain"]


def test_without_a_thread_flush_sends_by_itself(here, work):
    here.remote.error = GONE
    here.capture(work)
    assert here.store.flush(5).versions == ("exp/tag@1",)
    here.remote.error = None
    assert here.store.flush(5).objects == 0


def test_many_packs_are_looked_up_in_a_listing(here, elsewhere, work, tmp_path, monkeypatch):
    adopt_while_away(here, elsewhere, work, tmp_path)
    monkeypatch.setattr("studio_cas.store.draining.SINGLY", 0)
    here.back()
    assert pulled(elsewhere, "exp/tag", tmp_path / "out") == snapshot(work)


def test_a_spool_is_never_captured(here, tmp_path):
    here.remote.error = GONE
    (here.home / "note").write_bytes(b"mine")
    made = here.capture(here.home)
    assert made.files == 1


def test_a_record_that_was_damaged_while_it_waited_is_set_aside(here, work):
    here.remote.error = GONE
    here.capture(work)
    disk = LocalBackend(here.store.spool.folder)
    (item,) = here.store.spool.queue.listed(keys.VERSIONS)
    content = bytes(disk.read(item.name))
    disk.delete(item.name)
    disk.create(item.name, [content[: item.start + 20]])
    here.open()
    here.back()
    (aside,) = here.store.state().aside
    assert aside.startswith("exp/tag@1: ")
    assert numbers(here.store) == []
