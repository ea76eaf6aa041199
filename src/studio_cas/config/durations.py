"""Durations as people write them: 30s, 1m, 2h, 1h30m."""

from __future__ import annotations

import re

from studio_cas.errors import ConfigError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])", re.IGNORECASE)
_WHOLE = re.compile(rf"\s*(?:{_PART.pattern}\s*)+", re.IGNORECASE)


def parse_duration(text: object, key: str) -> float:
    """Seconds that `text` means. Raises ConfigError, which names `key`."""
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        hint = f"; did you mean {text}s?" if isinstance(text, int) and not isinstance(text, bool) else ""
        raise ConfigError(f"{key}: {text!r} is no duration: write a number and a unit, as 30s, 1m or 2h{hint}")
    seconds = sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text))
    if seconds < 1:
        raise ConfigError(f"{key}: {text!r} is too short: at least 1s")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest spelling: 90 is 1m30s, 60 is 1m."""
    parts = []
    rest = seconds
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count:.0f}{unit}")
    if rest or not parts:
        parts.append(f"{rest:g}s")
    return "".join(parts)
