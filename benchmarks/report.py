"""What a benchmark found, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One tool's figures: seconds of each round, how many times the floor, stored over source bytes."""

    tool: str
    seconds: tuple[float, ...]
    floor: float | None = None
    stored: float | None = None
    objects: int | None = None
    peak: int | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """Median of the rounds, in seconds."""
        return median(self.seconds)

    floor_best: float | None = None
    cpu: float | None = None

    @property
    def best_ratio(self) -> float:
        """Fastest round over the fastest floor: what other work on the machine disturbs least."""
        return min(self.seconds) / self.floor_best if self.floor_best else float("nan")

    @property
    def ratio(self) -> float:
        """Median over the floor; not a number where the table has no floor."""
        return self.median / self.floor if self.floor else float("nan")

    def cells(self) -> list[str]:
        """Return the row as it is printed."""
        low, high = min(self.seconds), max(self.seconds)
        return [
            self.tool,
            f"{self.median:.3f}",
            f"{low:.3f}-{high:.3f}" if len(self.seconds) > 1 else "once",
            f"{self.ratio:.2f}x" if self.floor else "",
            f"{self.best_ratio:.2f}x" if self.floor_best else "",
            f"{self.cpu:.3f}" if self.cpu is not None else "",
            f"{self.stored:.4f}" if self.stored is not None else "",
            f"{self.objects}" if self.objects is not None else "",
            f"{self.peak / MIB:.0f}" if self.peak else "",
            self.note,
        ]


HEADINGS = ["tool", "median s", "rounds s", "ratio", "best", "cpu s", "stored/source", "objects", "peak MiB", "note"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise: `measured` must be at most `limit`."""

    text: str
    measured: float
    limit: float
    unit: str = ""
    at_full_size: bool = True

    @property
    def verdict(self) -> str:
        """PASS or MISS, and by how much; at a smaller size than the bar was set for it only informs."""
        missed = self.measured > self.limit
        word = (
            f"MISS (by {self.measured / self.limit - 1:.0%})" if missed and self.limit else "MISS" if missed else "PASS"
        )
        return word if self.at_full_size else f"{word}, at a reduced size: not a verdict"

    def line(self) -> str:
        """Return the bar as it is printed."""
        return f"{self.verdict}: {self.text}: {self.measured:.3f}{self.unit}, at most {self.limit:g}{self.unit}"


@dataclass(slots=True)
class Report:
    """Everything that one script found."""

    name: str
    question: str
    workload: str
    full_size: bool
    machine: dict[str, str]
    versions: dict[str, str]
    floors: dict[str, list[float]] = field(default_factory=dict)
    sections: dict[str, list[Row]] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, section: str, row: Row) -> None:
        """Add a row to a table of the report."""
        self.sections.setdefault(section, []).append(row)

    def bar(self, text: str, measured: float, limit: float, unit: str = "") -> None:
        """Compare a figure with what was promised."""
        self.bars.append(Bar(text, measured, limit, unit, self.full_size))

    def note(self, text: str) -> None:
        """Add a sentence, once."""
        if text not in self.notes:
            self.notes.append(text)

    def note_once(self, beginning: str, rest: str) -> None:
        """Add a sentence, unless one with the same beginning is there."""
        if not any(note.startswith(beginning) for note in self.notes):
            self.notes.append(f"{beginning} {rest}")

    def text(self) -> str:
        """Return the report as Markdown."""
        lines = [f"## {self.name}: {self.question}", "", f"Workload: {self.workload}.  "]
        lines += [f"Machine: {', '.join(f'{key} {value}' for key, value in self.machine.items())}.  "]
        lines += [f"Versions: {', '.join(f'{key} {value}' for key, value in self.versions.items())}.", ""]
        for section, rows in self.sections.items():
            lines += [f"### {section}", "", *table(rows), ""]
        lines += [f"- {bar.line()}" for bar in self.bars]
        lines += ["", *(f"Note: {note}  " for note in self.notes), ""]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in {"sections", "bars"}}
        values["sections"] = {
            section: [{**asdict(row), "median": row.median} for row in rows] for section, rows in self.sections.items()
        }
        values["bars"] = [{**asdict(bar), "verdict": bar.verdict} for bar in self.bars]
        return values

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(self.json(), indent=1) + "\n")


def table(rows: list[Row]) -> list[str]:
    """Return the lines of a Markdown table, without the columns that nobody filled."""
    body = [row.cells() for row in rows]
    used = [i for i in range(len(HEADINGS)) if any(line[i] for line in body)]
    widths = {i: max(len(line[i]) for line in [HEADINGS, *body]) for i in used}

    def bar(line: list[str]) -> str:
        return "| " + " | ".join(line[i].ljust(widths[i]) for i in used) + " |"

    return [bar(HEADINGS), "|" + "|".join("-" * (widths[i] + 2) for i in used) + "|", *map(bar, body)]


# --- the machine ----------------------------------------------------------------------------------------------------


def machine(work: Path) -> dict[str, str]:
    """Describe the machine: processor, cores, memory, kernel, file system of the work folder, load before we began."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / (1 << 30):.1f} GiB",
        "kernel": platform.release(),
        "file system": file_system(work),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path."""
    found = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
