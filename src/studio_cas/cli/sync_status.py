"""What `studio sync status` and `studio sync list` print of each folder that is kept up to date."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from studio_cas.cli.rendering import age, counted, shown, size, timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studio_cas.config import Config
    from studio_cas.store.spooled import SpoolState
    from studio_cas.sync.overview import Kept

LIST_COLUMNS = ("ARTIFACT", "STATE", "PROCESS", "VERSION", "CAPTURED", "PATH")


def waiting_for(config: Config, found: list[Kept]) -> dict[str, SpoolState]:
    """What waits on this machine for the stores of `found`, and for the configured one, by URL."""
    from studio_cas.store.spooled import spool_state

    states = {}
    for url in dict.fromkeys([*(str(kept.status.get("store")) for kept in found), config.storage.url]):
        state = spool_state(config.home, url, config.offline_budget)
        if state is not None:
            states[url] = state
    return states


def record_of(kept: Kept, waiting: Mapping[str, SpoolState]) -> dict[str, Any]:
    """What `--json` prints of one."""
    row = kept.status
    state = waiting.get(str(row.get("store")))
    version, trouble = row.get("version"), row.get("trouble")
    return {
        "path": row.get("path"),
        "experiment": row.get("experiment"),
        "tag": row.get("tag"),
        "store": row.get("store"),
        "state": kept.state,
        "pid": kept.pid,
        "version": {**version, "time": timestamp(version["time"])} if version else None,
        "checked": timestamp(row["checked"]) if row.get("checked") else None,
        "period": row.get("period"),
        "cycles": row.get("cycles", 0),
        "pending": row.get("pending"),
        "rate": row.get("rate", 0),
        "stale": row.get("stale", []),
        "skipped": row.get("skipped", []),
        "watch": row.get("watch"),
        "trouble": {**trouble, "since": timestamp(trouble["since"])} if trouble else None,
        "waiting": {
            **dataclasses.asdict(state),
            "since": timestamp(state.since) if state.since is not None else None,
        }
        if state
        else None,
    }


def row_of(kept: Kept, now: float) -> tuple[str, ...]:
    """The columns of `LIST_COLUMNS`."""
    version = kept.status.get("version")
    number, captured = (str(version["number"]), age(now - version["time"])) if version else ("", "")
    return shown(kept.name), kept.state, str(kept.pid or ""), number, captured, shown(_path(kept))


def show_status(kept: Kept) -> None:
    """Print a few lines."""
    from studio_cas.worktree.steady import STILL_WRITTEN

    row, now = kept.status, time.time()
    who = f", process {kept.pid}" if kept.pid else ""
    print(f"{shown(kept.name)}: {kept.state}{who}, {shown(_path(kept))}")
    version = row.get("version")
    if version:
        amount = f"{counted(version['files'], 'file')}, {size(version['size'])}"
        print(f"  version {version['number']}, {amount}, captured {age(now - version['time'])}")
    if row.get("checked"):
        pending = "unknown" if row.get("pending") is None else size(row["pending"])
        print(f"  looked at {age(now - row['checked'])}; pending: {pending}; last rate: {size(row.get('rate', 0))}/s")
    watch = row.get("watch") or {}
    if kept.live and watch:
        print(f"  watched by {watch['mode']}" + (f": {watch['reason']}" if watch.get("reason") else ""))
    for key, sentence in (("stale", STILL_WRITTEN), ("skipped", "")):
        for path in row.get(key, []):
            print(f"  {shown(path)}" + (f" {sentence}" if sentence else ""))
    trouble = row.get("trouble")
    if trouble:
        tries = counted(trouble["tries"], "try").replace("trys", "tries")
        print(f"  ERROR ({trouble['kind']}) since {timestamp(trouble['since'])}, {tries}: {shown(trouble['sentence'])}")
        print(f"  what to do: {trouble['advice']}")
    elif kept.state == "interrupted":
        print("  its daemon was killed: studio sync --resume finishes it")


def _path(kept: Kept) -> str:
    return str(kept.status.get("path", ""))
