"""A JSON record of the original StudioML, as records of an attempt.

Its fields are read as far as they make sense; none but the key is needed. Credentials in it go nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio_cas.formats.experiment import Created, Ended, Git, RunArtifact, Started

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULTS = ("workspace", "output", "modeldir", "tb", "_metrics")
SECRET = ("credential", "secret", "token", "password", "apikey", "accesskey", "access_key")
DEPTH = 50
LATEST = 253_000_000_000.0
GUEST = "guest"


@dataclass(frozen=True, slots=True)
class StudioMLArtifact:
    """What a record says of one artifact; empty where it says nothing."""

    tag: str
    key: str
    local: str
    elsewhere: str
    mutable: bool


def artifacts(record: Mapping[str, Any]) -> list[StudioMLArtifact]:
    """The artifacts that a record names."""
    rows = record.get("artifacts")
    found = []
    for tag, row in rows.items() if isinstance(rows, dict) else ():
        if isinstance(row, dict):
            elsewhere = _text(row.get("url")) or _text(row.get("qualified"))
            key, local = _text(row.get("key")), _text(row.get("local"))
            found.append(StudioMLArtifact(str(tag), key, local, elsewhere, bool(row.get("mutable"))))
    return found


def without_secrets(value: Any, depth: int = 0) -> Any:
    """The record without what may be a credential."""
    if depth > DEPTH:
        return None
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if not any(word in name.lower() for word in SECRET)}
        return {name: without_secrets(inner, depth + 1) for name, inner in kept.items()}
    if isinstance(value, list):
        return [without_secrets(inner, depth + 1) for inner in value]
    return value


def created_of(record: Mapping[str, Any], experiment: str, tags: Mapping[str, str], user: str) -> Created:
    """What was asked for. `tags`: tag in the record to tag here; `user` where the record names no owner."""
    owner = _text(record.get("owner"))
    named = [one for one in artifacts(record) if one.tag in tags]
    arguments = record.get("args")
    command = ("python", _text(record.get("filename")), *map(str, arguments if isinstance(arguments, list) else ()))
    workspace = next((one.local for one in named if one.tag == "workspace"), "")
    return Created(
        experiment=experiment,
        attempt=1,
        user=owner if owner and owner != GUEST else user,
        host="",
        time=_time(record.get("time_added")) or 0.0,
        command=tuple(word for word in command if word),
        folder=workspace,
        period=60.0,
        artifacts=tuple(
            RunArtifact(tags[one.tag], one.local or one.key, one.mutable, default=one.tag in DEFAULTS) for one in named
        ),
        python="python",
    )


def started_of(record: Mapping[str, Any]) -> Started | None:
    """Where it ran, as far as that is known; None where it never started."""
    moment = _time(record.get("time_started"))
    if moment is None:
        return None
    lines = record.get("pythonenv")
    pairs = [str(line).partition("==") for line in lines] if isinstance(lines, list) else []
    version = _text(record.get("pythonver"))
    packages = {name: number for name, _, number in pairs if number}
    return Started(moment, "", 0, "", "python", version, packages, _git(record.get("git")))


def ended_of(record: Mapping[str, Any], versions: Mapping[str, tuple[int, int]]) -> Ended | None:
    """How it ended; None where nobody recorded an end."""
    status = _text(record.get("status"))
    if status not in {"finished", "stopped", "failed"}:
        return None
    times = (
        _time(record.get(name)) for name in ("time_finished", "time_last_checkpoint", "time_started", "time_added")
    )
    moment = next((found for found in times if found is not None), 0.0)
    return Ended(moment, status, 0 if status == "finished" else None, versions=dict(versions))


def _git(value: Any) -> Git | None:
    if not isinstance(value, dict) or not _text(value.get("commit")):
        return None
    clean = value.get("clean")
    return Git(_text(value.get("commit")), _text(value.get("branch")), dirty=clean is False, remote="")


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _time(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 < value < LATEST else None
