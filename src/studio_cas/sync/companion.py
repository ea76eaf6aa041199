"""What may go on beside the captures of a daemon: a run has heartbeats, and a record of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from studio_cas.store.store import Store
    from studio_cas.sync.control import Asker
    from studio_cas.sync.processes import Process
    from studio_cas.sync.spec import Pair


class Companion(Protocol):
    """Told by a daemon what happens. `store` gives the open store, and raises what opening it raises."""

    def beat(self, store: Callable[[], Store]) -> None:
        """Once a period, and every 30 seconds at least, the first time at the beginning, in a thread of its own."""

    def now(self, pair: Pair) -> Pair:
        """The pair as it is to be captured now: what is left out may have changed."""

    def asked(self, request: Mapping[str, Any], asker: Asker) -> bool:
        """A request came that is not the daemon's alone. True where the asker is kept, and answered later."""

    def lost(self, process: Process, code: int | None) -> None:
        """A process that the daemon lives for has ended, with that exit code where it is known."""

    def end(self, store: Callable[[], Store], outcomes: Sequence[Mapping[str, Any]]) -> bool:
        """Every last capture was made or given up. False where something is left to do for another time."""


class Alone:
    """Nothing goes on beside the captures."""

    def beat(self, store: Callable[[], Store]) -> None:
        """Do nothing."""

    def now(self, pair: Pair) -> Pair:
        """As it was."""
        return pair

    def asked(self, request: Mapping[str, Any], asker: Asker) -> bool:  # noqa: ARG002  # a Companion
        """Keep nobody."""
        return False

    def lost(self, process: Process, code: int | None) -> None:
        """Do nothing."""

    def end(self, store: Callable[[], Store], outcomes: Sequence[Mapping[str, Any]]) -> bool:  # noqa: ARG002  # a Companion
        """Nothing is left."""
        return True
