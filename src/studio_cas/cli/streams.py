"""The standard streams where they are closed, full, or have lost their reader: a call still ends as it should."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def open_missing() -> None:
    """Open the null device where stdin, stdout or stderr was closed: else the next file would get its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # for good


def silence(stream: TextIO) -> None:
    """Point `stream` at the null device, so that the interpreter's last flush of it cannot fail."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, stream.fileno())
    os.close(sink)


def fails(stream: TextIO) -> bool:
    """Whether `stream` cannot take what was written to it; it is silenced then."""
    try:
        stream.flush()
    except OSError:
        silence(stream)
        return True
    return False
