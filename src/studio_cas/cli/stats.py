"""What `--stats` counts: the requests that this process makes between its begin and its end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio_cas.backends.metered import Counts

_began: list[Counts] = []  # one at most: a process executes one command


def begin() -> None:
    """Count from now on."""
    from studio_cas.backends.metered import counts_of_process

    _began[:] = [counts_of_process()]


def counted() -> Counts | None:
    """What was counted so far; None where nobody asked for it."""
    if not _began:
        return None
    from studio_cas.backends.metered import counts_of_process

    return counts_of_process().since(_began[0])


def end() -> Counts:
    """What was counted in all."""
    from studio_cas.backends.metered import counts_of_process

    return counts_of_process().since(_began.pop())


def record(counts: Counts) -> dict[str, Any]:
    """The counts as JSON has them."""
    return {"class_a": counts.class_a, "class_b": counts.class_b, **dataclasses.asdict(counts)}
