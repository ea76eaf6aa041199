"""What may go on beside the captures of a daemon: a run has heartbeats, and a record of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from studio_cas.store.store import Store


class Companion(Protocol):
    """Told by a daemon what happens. `store` gives the open store, and raises what opening it raises."""

    def beat(self, store: Callable[[], Store]) -> None:
        """Once a period, in a thread of its own; raises nothing."""

    def told(self, request: Mapping[str, Any]) -> None:
        """A request `finish` came, with what it says of the end."""

    def end(self, store: Callable[[], Store], outcomes: Sequence[Mapping[str, Any]]) -> bool:
        """Every last capture was made or given up. False where something is left to do for another time."""


class Alone:
    """Nothing goes on beside the captures."""

    def beat(self, store: Callable[[], Store]) -> None:
        """Do nothing."""

    def told(self, request: Mapping[str, Any]) -> None:
        """Do nothing."""

    def end(self, store: Callable[[], Store], outcomes: Sequence[Mapping[str, Any]]) -> bool:  # noqa: ARG002  # a Companion
        """Nothing is left."""
        return True
