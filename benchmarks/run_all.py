"""Run every benchmark, one after the other, and write results/<date>.md and .json.

`python benchmarks/run_all.py [--quick] [--peers ...] [--only first_capture,pull]`; other options go to the scripts.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = [
    "startup", "run_empty", "first_capture", "pull", "capture_unchanged", "insert", "append", "small_text",
    "growing_logs", "versions_500", "pull_update", "memory", "million_files",
    "sync_latency", "sync_cycles", "sync_overhead", "sync_scale", "many_writers", "many_versions",
    "bucket_throughput", "bucket_cores", "capture_overlap",
]  # fmt: skip


def run_one(script: str, options: list[str], answer: Path) -> str:
    """Run one script; return what it printed, or why it failed."""
    command = [sys.executable, str(HERE / f"{script}.py"), "--json", str(answer), *options]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{script}: exit code {done.returncode}, {time.monotonic() - began:.0f} s", flush=True)
    return done.stdout if done.returncode == 0 else f"## {script}: failed\n\n```\n{done.stderr[-2000:]}\n```\n"


def summary(reports: list[dict[str, object]]) -> str:
    """Return a table of all bars."""
    lines = ["| benchmark | bar | measured | at most | |", "|---|---|---|---|---|"]
    for report in reports:
        bars: list[dict[str, object]] = report["bars"]  # type: ignore[assignment]
        for bar in bars:
            figures = f"{bar['measured']:.3f}{bar['unit']} | {bar['limit']:g} | {bar['verdict']}"
            lines.append(f"| {report['name']} | {bar['text']} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    """Run all scripts, or those that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="some scripts: first_capture,pull")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
    known, options = parser.parse_known_args()
    texts, reports = [], []
    with tempfile.TemporaryDirectory() as folder:
        for script in known.only.split(",") if known.only else SCRIPTS:
            answer = Path(folder) / f"{script}.json"
            texts.append(run_one(script, options, answer))
            if answer.exists():
                reports.append(json.loads(answer.read_text()))
    known.out.mkdir(parents=True, exist_ok=True)
    name = dt.datetime.now(dt.UTC).date().isoformat()
    head = f"# Benchmarks, {name}\n\nOptions: {' '.join(options) or 'none'}. How to read this: ../README.md.\n\n"
    (known.out / f"{name}.md").write_text(head + summary(reports) + "\n\n" + "\n".join(texts))
    (known.out / f"{name}.json").write_text(json.dumps(reports, indent=1) + "\n")
    print(known.out / f"{name}.md")


if __name__ == "__main__":
    main()
