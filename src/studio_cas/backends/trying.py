"""Which rights a credential has, tried out on an object of one's own: for services that do not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.backends.answers import NOT_FOUND, RefusalError, explain
from studio_cas.backends.rights import Rights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def tried_out(url: str, trials: Mapping[str, Callable[[], object]]) -> Rights:
    """The rights whose trial is not denied, one after the other. Raises StudioError where that can not be known."""
    held = frozenset(right for right, work in trials.items() if _may(url, work))
    return Rights(held, frozenset(trials))


def _may(url: str, work: Callable[[], object]) -> bool:
    try:
        work()
    except RefusalError as refusal:
        if refusal.means in {"denied", "exists"}:
            return False
        if refusal.status != NOT_FOUND:  # which answers to whoever may ask
            raise explain(refusal, f"{url}: the rights can not be tried out") from refusal
    return True
