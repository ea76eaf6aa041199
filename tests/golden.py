"""Golden files: what was written once must be read, and written in the same way, for ever.

A golden file never changes: a new format gets new ones beside it. With STUDIO_NEW_GOLDEN=1 missing ones are made.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def noise(seed: str, size: int) -> bytes:
    """Bytes without a pattern, the same on every machine and with every version of everything."""
    return hashlib.shake_256(seed.encode()).digest(size)


def may_make(path: Path) -> bool:
    """Whether the golden file is missing, and is to be made."""
    return not path.exists() and bool(os.environ.get("STUDIO_NEW_GOLDEN"))


def expect(path: Path, made: bytes) -> None:
    """`made` is what the golden file holds."""
    if may_make(path):
        path.write_bytes(made)
    assert made == path.read_bytes()


def expect_json(path: Path, made: object) -> None:
    """`made` is what the golden file says."""
    if may_make(path):
        path.write_text(json.dumps(made, indent=1) + "\n")
    assert made == json.loads(path.read_text())
