"""Real writers and collectors that take turns, one request at a time, in an order that a test chooses."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from studio_cas.backends.passing import Passing
from studio_cas.formats import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from studio_cas.backends.base import Backend

PATIENCE = 60.0  # seconds until a test gives up waiting for an actor
SCHEDULED = (keys.PACKS, keys.TREES, keys.PINS, keys.GC, keys.VERSIONS)
CALLS = ("create", "read", "read_tail", "stat", "list", "delete")


class Turns:
    """Actors, each a thread with a backend of its own; between two requests everybody else may act."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, int] = {}
        self._granted = ""
        self._threads: dict[str, threading.Thread] = {}
        self._done: set[str] = set()
        self.results: dict[str, Any] = {}
        self.order: list[str] = []
        """Who made which request: "writer create versions/"."""

    def add(self, name: str, act: Callable[[], Any]) -> None:
        """Begin to do `act`, up to its first request."""

        def run() -> None:
            try:
                self.results[name] = act()
            except BaseException as error:  # noqa: BLE001  # a test looks at it
                self.results[name] = error
            with self._changed:
                self._done.add(name)
                self._changed.notify_all()

        self._waiting[name] = 0
        self._threads[name] = threading.Thread(target=run, name=name)
        self._threads[name].start()

    def request(self, name: str, what: str, work: Callable[[], Any]) -> Any:
        """Wait for the turn of `name`, and do `work` alone."""
        with self._changed:
            self._waiting[name] += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._granted == name, PATIENCE), f"{name} got no turn"
            try:
                self.order.append(f"{name} {what}")
                return work()
            finally:
                self._waiting[name] -= 1
                self._granted = ""
                self._changed.notify_all()

    def step(self, name: str) -> bool:
        """Let `name` make one request; False where it has ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting[name] or name in self._done, PATIENCE), f"{name} hangs"
            if not self._waiting[name]:
                return False
            self._granted = name
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self._granted, PATIENCE)
            return True

    def play(self, script: Iterable[str]) -> None:
        """One request for each name, and then all the rest, actor by actor."""
        for name in script:
            self.step(name)
        for name, thread in self._threads.items():
            while self.step(name):
                pass
            thread.join()


class Turning(Passing):
    """`inner` as one actor sees it."""

    def __init__(self, inner: Backend, turns: Turns, name: str) -> None:
        super().__init__(inner)
        self._turns = turns
        self._name = name

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in CALLS:
            return found
        turns, actor = self._turns, self._name

        def call(key: str, *arguments: Any, **options: Any) -> Any:
            if not key.startswith(SCHEDULED):
                return found(key, *arguments, **options)
            what = f"{name} {key.partition('/')[0]}/"
            return turns.request(actor, what, lambda: found(key, *arguments, **options))

        return call


@contextmanager
def finishing(turns: Turns) -> Iterator[Turns]:
    """Whatever a test finds, all actors end."""
    try:
        yield turns
    finally:
        turns.play(())
