"""Sizes as people write them: 500MiB, 50GiB, 20MB; a unit is always a power of 1024."""

from __future__ import annotations

import re

from studio_cas.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str, key: str) -> int:
    """Bytes that `text` means. Raises UsageError, which names `key`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{key}: {text!r} is no size: write a number and a unit, as 500MiB or 50GiB")
    power = " KMGTP".index(match[2].upper() or " ")
    return int(float(match[1]) * 1024**power)
