"""How things are printed: sizes, ages, tables, JSON, and names that may hold any byte."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from studio_cas.cli import stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from studio_cas.errors import StudioError

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
PERIODS = ((31536000, "year"), (2592000, "month"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
LINE_BREAKS = "\u0085\u2028\u2029"


def size(count: int) -> str:
    """`count` bytes for a person: 0 B, 512 B, 1.2 GiB."""
    value = float(count)
    for unit in UNITS[:-1]:
        if abs(value) < 1024 - (0.05 if unit != "B" else 0):
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {UNITS[-1]}"


def age(seconds: float) -> str:
    """How long ago, for a person: just now, 3 minutes ago; clocks that disagree give "just now"."""
    for length, name in PERIODS:
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(count: int, noun: str) -> str:
    """1 file, 2 files, 12,345 files."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(name: str | bytes) -> str:
    """`name` with what could steer a terminal written as an escape: control characters, odd bytes, hidden marks."""
    text = os.fsdecode(name)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable() or (character.isspace() and character > "\x9f" and character not in LINE_BREAKS):
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def shown(name: str | bytes) -> str:
    """`name` for stdout: escaped on a terminal, as it is (whatever its bytes) in a pipe or a file."""
    return printable(name) if sys.stdout.isatty() else os.fsdecode(name)


def complain(errors: Sequence[StudioError]) -> int:
    """Say on stderr what went wrong beside what was printed; the exit code, 0 for nothing."""
    for error in errors:
        print(f"studio: {printable(str(error))}", file=sys.stderr)
    return errors[0].exit_code if errors else 0


def print_json(value: Any) -> None:
    """Print `value` as one JSON document; bytes that are not UTF-8 appear as lone surrogates, as Python names them.

    With --stats an object has them under `stats`.
    """
    counts = stats.counted()
    if isinstance(value, dict) and counts is not None:
        value = {**value, "stats": stats.record(counts)}
    print(json.dumps(value, indent=2))


def print_json_list(values: Iterable[Any]) -> None:
    """Print one JSON array, an element a line, while the elements come."""
    lead = "[\n"
    for value in values:
        sys.stdout.write(lead + json.dumps(value))
        lead = ",\n"
    sys.stdout.write("\n]\n" if lead == ",\n" else "[]\n")


def dollars(amount: float) -> str:
    """`amount` in US dollars for a person: to the cent, small ones to two digits that say something."""
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.2g}" if amount >= 1e-4 else "< $0.0001"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print aligned columns; `right` has the indices of the columns to align to the right."""
    lines = [tuple(headings), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
