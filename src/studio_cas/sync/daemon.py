"""The daemon: one loop, many pairs.

The loop waits for whatever comes first: a cycle that is due, a change, a request, a signal, the end of a process it
lives for. Cycles run in two lanes, the small ones first, and at most one large one at a time, so that a checkpoint of
100 GB keeps no log waiting. Two cycles of one pair never overlap.

Its end is a last cycle of every pair, tried a few times. What could not be captured then stays in the journal as not
ended, and `studio sync --resume` finishes it.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio_cas.backends.metered import counts_of_process
from studio_cas.errors import ConflictError, IncompleteError, NotFoundError, TransientError, UsageError
from studio_cas.sync import schedule
from studio_cas.sync.bell import Bell
from studio_cas.sync.companion import Alone
from studio_cas.sync.debounce import Debounce, Rhythm
from studio_cas.sync.engine import Cycle, Keeper, run_cycle
from studio_cas.sync.journal import Journal
from studio_cas.sync.member import Member, told_of
from studio_cas.sync.priority import stand_back
from studio_cas.sync.processes import Process
from studio_cas.sync.pulse import Pulse
from studio_cas.sync.reporting import CycleProgress, Ending, code_of, outcome, problems_of
from studio_cas.sync.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from studio_cas.backends.base import Backend
    from studio_cas.store.store import Store
    from studio_cas.sync.companion import Companion
    from studio_cas.sync.control import Asker
    from studio_cas.sync.journal import DaemonFolder, PairFolder
    from studio_cas.sync.lock import Hold
    from studio_cas.sync.spec import DaemonSpec, Pair

GATHER = 0.25  # seconds between two looks at what the watcher told
TICK = 1.0  # seconds between two writings of what status shows, while something goes on
LOOK = 2.0  # seconds between two looks for a folder that is missing
IDLE = 30.0
QUIT_CODE = 130
SEND_SECONDS = 30.0  # that an end waits for what goes up to a store that was away
LEAST_SECONDS = 1.0  # and for the record of the end, where all of that went by


@dataclass
class Daemon:
    """One daemon; `run` is called once, in the main thread, and signals are the daemon's while it runs.

    `say` is told what a person has to know, in sentences, and `note` what happens. `once`: the first cycle is the last.
    `resumed`: finish what a killed one left, but for pairs that another daemon has by now; a folder that is gone is
    then no reason to try again.
    """

    folder: DaemonFolder
    spec: DaemonSpec
    say: Callable[[str], None]
    note: Callable[[str], None]
    companion: Companion = field(default_factory=Alone)
    once: bool = False
    resumed: bool = False
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._journal = Journal(self.spec.home)
        self._bell = Bell(self.folder.control, self._on_signal)
        self._watcher = Watcher(self._bell.wake)
        self._keeper = Keeper(self._open_store)
        self._members: list[Member] = []
        self._holds: dict[Pair, Hold] = {}
        self._finished: queue.SimpleQueue[tuple[Member, Cycle]] = queue.SimpleQueue()
        self._farewell: list[Asker] = []
        self._signals = 0
        self._stopping = self._quit = self._stood_back = self._put_off = False
        self._pulse = Pulse(lambda: self.companion.beat(self._keeper.store), self.spec.period)
        self._ticked = self._gathered = self._looked = float("-inf")

    # --- from beginning to end --------------------------------------------------------------------------------------

    def run(self) -> Ending:
        """Capture until told to stop. Raises ConflictError where another daemon has one of the pairs."""
        lock = self.folder.hold()
        if lock is None:
            raise ConflictError(f"another process is the daemon {self.folder.id} already")
        try:
            self._hold_pairs()
            return self._live()
        finally:
            for hold in (*self._holds.values(), lock):
                hold.release()
            if self.spec.run is not None and self.folder.ended:
                self._forget()

    def _hold_pairs(self) -> None:
        for pair in self.spec.pairs:
            folder = self._journal.pair(pair, self.spec.storage.url)
            if self.resumed and folder.ended:
                continue
            hold = folder.hold({"pid": os.getpid(), "daemon": self.folder.id, "since": time.time()})
            if hold is not None:
                self._holds[pair] = hold
                self._members.append(self._member(pair, folder))
                if not self.once:
                    self.note(f"{pair.path} is kept as {pair.name}")
            elif not self.resumed:
                pid = (folder.holder() or {}).get("pid", "unknown")
                raise ConflictError(
                    f"{pair.path} is kept as {pair.name} by process {pid} already: studio sync stop {pair.name} ends it"
                )

    def _forget(self) -> None:
        """A run has its records: what the journal knew of it is no longer needed."""
        for member in self._members:
            member.folder.remove()
        self.folder.remove()

    def _member(self, pair: Pair, folder: PairFolder) -> Member:
        spec = self.spec
        first = self.clock() + min(spec.first, spec.period)
        ours = [spec.home / name for name in ("sync", "cache", "blobcache", "spool", "store", "keys")]
        store = [spec.storage.folder] if spec.storage.folder else []
        left_out = tuple(path.resolve() for path in (*pair.exclude, *ours, *store))
        about = {"store": spec.storage.url, "daemon": self.folder.id, "period": spec.period}
        member = Member(pair, folder, Debounce(Rhythm(spec.period), first), left_out, about)
        earlier = folder.read_status() or {}
        if earlier.get("daemon") == self.folder.id:  # one that was killed, and whose work this one goes on with
            member.first = earlier.get("first")
        return member

    def _open_store(self) -> Store:
        from studio_cas.config.opening import open_spooled_storage

        def paced(backend: Backend) -> Backend:
            from studio_cas.backends.paced import Paced

            return Paced(backend, self.spec.max_rate) if self.spec.max_rate else backend

        spec = self.spec
        return open_spooled_storage(spec.storage, spec.home, create=False, around=paced, budget=spec.offline_budget)

    def _live(self) -> Ending:
        lanes = ThreadPoolExecutor(schedule.LANES, "cycle")
        with self._bell as bell:
            bell.attend({*self.spec.until, *self.folder.attended()})
            if self.once or (not bell.attended and (self.resumed or self.spec.until)):
                self.stop()
            for member in self._members:
                member.write_status("starting")  # before the first version can be seen
            try:
                self._loop(lanes)
                if self._quit:
                    problem = "stopped before the last captures were made: studio sync --resume finishes them"
                    return Ending(QUIT_CODE, (problem,), quit=True)
                return self._end()
            finally:
                lanes.shutdown(wait=not self._quit, cancel_futures=True)
                self._pulse.close(wait=not self._quit)
                self._watcher.close()
                if not self._quit:
                    self._keeper.close()

    def _capture_again(self) -> float:
        """Capture what waited and cannot go up, as packs that it shared with others went from the store meanwhile.

        Gives the seconds that may still be waited for what goes up.
        """
        began = self.clock()
        self._keeper.send(SEND_SECONDS)
        left = max(LEAST_SECONDS, SEND_SECONDS - (self.clock() - began))
        for member in [member for member in self._members if self._keeper.aside([member.pair])]:
            member.begin(self.clock(), last_one=True)
            self._cycle(member)
        self._take_finished()
        return left

    def _end(self) -> Ending:
        seconds = self._capture_again()
        done = self.companion.end(self._keeper.store, [outcome(member) for member in self._members])
        for member in self._members:
            member.write_status("ended" if self._is_over(member) else "unfinished")
        if done and all(map(self._is_over, self._members)):
            self.folder.end()
        code = next(filter(None, map(code_of, self._members)), 0)
        problems = [sentence for member in self._members for sentence in problems_of(member)]
        waiting = [f"{one}; studio sync --resume sends them" for one in self._keeper.send(seconds)]
        if lost := self._keeper.aside(self.spec.pairs):
            code = code or IncompleteError.exit_code
            problems += [f"{what}; capture it again" for what in lost]
        outcomes = [outcome(member) for member in self._members]
        asked = dataclasses.asdict(counts_of_process())
        for asker in self._farewell:
            asker.answer(done=True, code=code, problems=problems, outcomes=outcomes, waiting=waiting, asked=asked)
            asker.close()
        code = code or (TransientError.exit_code if waiting else 0)
        problems += waiting if not self._farewell else []  # who asked for the end says it
        return Ending(code, tuple(problems))

    def _is_over(self, member: Member) -> bool:
        """Whether nothing is left to do for it."""
        return member.trouble is None or (self.resumed and member.trouble.kind == NotFoundError.kind)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _loop(self, lanes: ThreadPoolExecutor) -> None:
        attended = self._bell.attended
        while not self._quit:
            for process, code in self._bell.take_ended():
                self.companion.lost(process, code)
            if attended and not self._bell.attended:
                self.stop()
            attended = self._bell.attended
            self._gather()
            self._take_finished()
            if all(member.done for member in self._members) and (self._stopping or self.spec.run is None):
                return
            chosen = schedule.choose(self._members, self.clock())
            if chosen and not self._stood_back and not self._stopping:
                self._stood_back = True
                if self.spec.stand_back:
                    stand_back()  # not before: somebody waits for the end of a short script
            for member in chosen:
                member.begin(self.clock(), last_one=member.final_due is not None)
                lanes.submit(self._cycle, member)
            self._tick()
            for request, asker in self._bell.wait(self._pause()):
                self._serve(request, asker)

    def _gather(self) -> None:
        """Look at what the watcher told, not too often: a busy folder tells a lot."""
        now = self.clock()
        self._put_off = now - self._gathered < GATHER
        if not self._put_off:
            self._gathered = now
            if self._watcher.in_a_storm:
                self._watcher.rest()
            for member in self._members:
                member.notice(now)

    def _take_finished(self) -> None:
        while not self._finished.empty():
            member, cycle = self._finished.get()
            known = member.trouble
            member.end(cycle, self.clock())
            member.answer()
            if complaint := member.complaint(known):
                self.say(complaint)
            if cycle.result is not None:
                for sentence in cycle.result.damaged:
                    self.say(f"{sentence}: this version does without it")
                if made := told_of(cycle.result):
                    self.note(made)
            if member.done and not self._stopping:
                self._members.remove(member)
                self._part_with(member)
            else:
                member.write_status()

    def _part_with(self, member: Member) -> None:
        """One pair is no longer kept; the others are."""
        member.write_status("ended" if self._is_over(member) else "unfinished")
        self._holds.pop(member.pair).release()
        member.leave(self._watcher)

    def _cycle(self, member: Member) -> None:
        """In a lane."""
        cycle = run_cycle(
            self._keeper,
            lambda: self._prepared(member),
            user=self.spec.user,
            compression=self.spec.compression,
            final=member.last_one and not self.once,
            progress=CycleProgress(member, self._farewell),
        )
        self._finished.put((member, cycle))
        self._bell.wake()

    def _prepared(self, member: Member) -> Pair:
        """What is captured now; it is watched from before then on, unless that is the end."""
        if not member.last_one:
            member.look(self._watcher)
        pair = self.companion.now(member.pair)
        return dataclasses.replace(pair, exclude=(*pair.exclude, self.spec.home / "sync"))

    def _tick(self) -> None:
        """What is done now and then."""
        now = self.clock()
        self._pulse.tick(now)
        if now - self._looked >= LOOK:
            self._looked = now
            for member in self._members:
                if member.trouble and member.trouble.kind == NotFoundError.kind and member.pair.path.exists():
                    member.debounce.hurry()
        if now - self._ticked >= TICK:
            self._ticked = now
            for member in self._members:
                member.write_status("stopping" if self._stopping else "watching")

    def _pause(self) -> float:
        """Seconds until there is something to do."""
        now = self.clock()
        active = self._stopping or any(member.running or member.trouble for member in self._members)
        times = [now + (TICK if active else IDLE), self._pulse.due(now)]
        times += [due for member in self._members if (due := member.due()) > now]  # the others wait for a lane
        if self._put_off:  # and not by the time now: what woke us would wait for the next thing that does
            times.append(self._gathered + GATHER)
        return max(0.0, min(times) - now)

    # --- being told -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Make the last captures, and end."""
        self._stopping = True
        for member in self._members:
            member.finish(self.clock())

    def _on_signal(self) -> None:
        self._signals += 1
        if self._signals == 1 and self.spec.run is not None and self._bell.attended:
            self._hurry()  # the machine may be about to go: what is small first, and the end when the script ends
        elif self._stopping and self._signals > 1:
            self._quit = True
        else:
            self.stop()

    def _hurry(self) -> None:
        for member in self._members:
            member.debounce.hurry()

    def _serve(self, request: Mapping[str, Any], asker: Asker) -> None:
        match request.get("ask"):
            case "commit" | "stop":
                self._serve_member(request, asker)
                return
            case "finish":
                self.companion.asked(request, asker)
                self._farewell.append(asker)
                self.stop()
                return
            case "listen":
                if self.companion.asked(request, asker):
                    return
            case "attend":
                process = Process(int(request["pid"]), int(request["started"]))
                self.companion.asked(request, asker)
                self.folder.attend(process)
                self._bell.attend([process])
            case "hurry":
                self._hurry()
            case "quit":
                self._quit = True
            case other:
                asker.refuse(UsageError(f"the sync daemon does not know the request {other!r}: it is another version"))
                return
        asker.answer(done=True)
        asker.close()

    def _serve_member(self, request: Mapping[str, Any], asker: Asker) -> None:
        experiment, tag = request.get("experiment"), request.get("tag")
        member = next((one for one in self._members if (one.pair.experiment, one.pair.tag) == (experiment, tag)), None)
        if member is None or (member.done and request["ask"] == "commit"):
            asker.refuse(NotFoundError(f"the sync daemon does not keep {experiment}/{tag}"))
        elif request["ask"] == "commit":
            member.waiting.append(asker)
            member.debounce.hurry()
        elif self.spec.run is not None:
            asker.refuse(ConflictError(f"{experiment}/{tag} belongs to a run: end the run, and it ends too"))
        else:
            member.leaving.append(asker)
            member.finish(self.clock())
