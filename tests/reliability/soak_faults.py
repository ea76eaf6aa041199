"""Every request of captures, pulls and a collection fails in every way; `faults.py` says what must hold then.

`python tests/reliability/soak_faults.py`

Prints, for each way, how many cases ended in success and how many in an error; each error once; and what must not be.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.reliability.faults import KINDS, SCENES, Case, Matrix

from studio_cas.testing.faulty_process import faulty_cloud


def soak(matrix: Matrix, scenes: list[str], kinds: list[str]) -> list[str]:
    """Run all cases; the sentences of those in which something was wrong."""
    outcomes: Counter[tuple[str, str]] = Counter()
    errors: Counter[str] = Counter()
    wrong = []
    for scene in scenes:
        requests = matrix.requests(scene)
        print(f"{scene}: {requests} requests", flush=True)
        cases = [Case(scene, at, kind, mode) for at in range(requests) for kind in kinds for mode in (False, True)]
        for case in cases:
            try:
                result = matrix.run(case)
            except Exception as error:  # noqa: BLE001 - it is told, and the others are tried
                wrong.append(f"{case}: {type(error).__name__}: {error}")
                print(f"WRONG: {wrong[-1]}", flush=True)
                continue
            way = f"{case.kind}, {'from then on' if case.forever else 'once'}"
            outcomes[way, ("error" if result.error else "success") if result.hit else "not reached"] += 1
            if result.error is not None:
                text = re.sub(r"[0-9a-f]{32}|127\.0\.0\.1:\d+", "…", str(result.error))
                errors[f"{type(result.error).__name__}: {text}"] += 1
    for (way, outcome), count in sorted(outcomes.items()):
        print(f"{way:45} {outcome:12} {count}")
    for text, count in errors.most_common():
        print(f"{count:4} {text}")
    print(f"{sum(outcomes.values()) + len(wrong)} cases, {len(wrong)} wrong")
    return wrong


def main() -> int:
    """Run the soak, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", choices=SCENES, action="append", help="only this one; repeatable")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this way to fail; repeatable")
    parser.add_argument("--cloud", choices=("gcs", "s3", "azure"), default="gcs", help="what the service speaks")
    options = parser.parse_args()
    with faulty_cloud(options.cloud) as cloud, tempfile.TemporaryDirectory(prefix="soak-") as base:
        return 1 if soak(Matrix(cloud, Path(base)), options.scene or list(SCENES), options.kind or list(KINDS)) else 0


if __name__ == "__main__":
    sys.exit(main())
