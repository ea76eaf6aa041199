"""Whether one process can use more than one core to move packs: one, two and three at once, to a server that is idle.

The server (`idle_bucket.py`) takes almost no processor. `ours`, and `an event loop`, which is the minimal program with
aiohttp of `bucket_throughput.py`, move the same packs over 12 connections in all, with TLS and without.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from harness import HERE, MIB, Bench

if TYPE_CHECKING:
    from pathlib import Path

FULL, QUICK = 96, 12
PACK = 32
STREAMS = 12
PROCESSES = (1, 2, 3)


def main() -> None:
    """Measure what pulls and captures do."""
    from studio_cas.testing.serving import serving

    with Bench("cores that move packs", full=FULL, quick=QUICK, unit="packs of 32 MiB") as bench:
        file = certificate(bench.work)
        program = [sys.executable, str(HERE / "idle_bucket.py")]
        with serving(lambda port: [*program, str(port), str(file)], "/_cpu") as (server, _):
            for how, url in (("no TLS", server), ("TLS", server.replace("http:", "https:"))):
                bench.env |= {"STORAGE_EMULATOR_HOST": url, "SSL_CERT_FILE": str(file)}
                for task in ("ranges", "put"):
                    compare(bench, task, how, server)


def compare(bench: Bench, task: str, how: str, server: str) -> None:
    """Add a table."""
    cases = [(who, count) for who in ("ours", "minimal") for count in PROCESSES]
    said: dict[tuple[str, int], list[dict[str, float]]] = {case: [] for case in cases}
    for turn in range(bench.rounds):
        for case in cases[turn:] + cases[:turn]:
            said[case].append(move(bench, task, *case, f"bucket-{secrets.token_hex(4)}", server))
    for (who, count), rows in said.items():
        best = min(rows, key=lambda row: row["seconds"])
        size = bench.amount * PACK * MIB / 1e9
        name = f"{'ours' if who == 'ours' else 'an event loop'}, {count} process{'es' if count > 1 else ''}"
        rate, cpu, server_cpu = size / best["seconds"], best["cpu"] / size, best["server"] / size
        note = f"best {rate:.2f} GB/s; CPU s/GB: {cpu:.2f}, server {server_cpu:.2f}"
        bench.row(f"{task}, {how}", name, [row["seconds"] for row in rows], cpu=best["cpu"], note=note)


def move(bench: Bench, task: str, who: str, count: int, bucket: str, server: str) -> dict[str, float]:
    """Move the packs with so many processes at once; returns seconds from the first begin to the last end, and CPU."""
    before = server_seconds(server)
    words = ("bucket_driver.py", who, task, STREAMS // count, bench.amount // count, bucket)
    with ThreadPoolExecutor(count) as pool:
        runs = list(pool.map(lambda number: bench.python(*words, number), range(count)))
    rows: list[dict[str, Any]] = [json.loads(run.output) for run in runs]
    seconds = max(row["began"] + row["seconds"] for row in rows) - min(row["began"] for row in rows)
    served = server_seconds(server) - before
    return {"seconds": seconds, "cpu": sum(row["cpu"] for row in rows), "server": served}


def server_seconds(server: str) -> float:
    """Return the processor seconds that the server took."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server}/_cpu") as answer:
        return float(answer.read())


def certificate(work: Path) -> Path:
    """Make a certificate for this machine, with its key in the same file."""
    key, file = work / "key.pem", work / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", key, "-out", file, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


if __name__ == "__main__":
    main()
