"""Which keys and prefixes a backend accepts: the same rule for every store, checked before anything is touched."""

from __future__ import annotations

import re
from typing import Final

from studio_cas.errors import UsageError

# Printable ASCII without space and backslash. No segment begins with a dot: this shuts out `.` and `..`, and leaves
# the names with a leading dot to the temporary files of a local store.
_SEGMENT: Final = r"[!-\-0-\[\]-~][!-.0-\[\]-~]*"
_KEY: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_PREFIX: Final = re.compile(rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?")
LONGEST_KEY: Final = 1000  # Google Cloud Storage takes 1024 bytes, our prefix in the bucket included
LONGEST_SEGMENT: Final = 255  # what file systems take


def check_key(key: str) -> str:
    """Give `key` back when it names an object. Raises UsageError when it is empty, absolute, or leads outside."""
    if _KEY.fullmatch(key) is None or (len(key) > LONGEST_SEGMENT and _is_too_long(key)):
        message = f"{key!r} is not a key: segments of printable ASCII, not beginning with a dot, joined with '/'"
        raise UsageError(message)
    return key


def _is_too_long(key: str) -> bool:
    return len(key) > LONGEST_KEY or max(map(len, key.split("/"))) > LONGEST_SEGMENT


def check_prefix(prefix: str) -> str:
    """Give `prefix` back when some key can begin with it; it may be empty. Raises UsageError otherwise."""
    if _PREFIX.fullmatch(prefix) is None or len(prefix) > LONGEST_KEY:
        message = f"{prefix!r} is not the beginning of a key"
        raise UsageError(message)
    return prefix


def check_folder(prefix: str) -> str:
    """Give `prefix` back when it is empty, or the beginning of a key that ends in `/`. Raises UsageError otherwise."""
    if prefix and not prefix.endswith("/"):
        message = f"{prefix!r} does not end in '/'"
        raise UsageError(message)
    return check_prefix(prefix)
