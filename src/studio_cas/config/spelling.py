"""Keys that nobody knows: which one was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio_cas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known word is close."""
    from difflib import get_close_matches

    folded = {_fold(name): name for name in known}
    close = get_close_matches(_fold(word), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def _fold(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def check_keys(section: Mapping[Any, object], known: Sequence[str], unused: Sequence[str], where: str) -> None:
    """Raise ConfigError at the first key of `section` that is neither known nor one of the original's."""
    for key in section:
        if key not in known and key not in unused:
            hint = did_you_mean(str(key), known) or f": known keys are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")
