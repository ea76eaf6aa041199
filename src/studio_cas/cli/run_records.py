"""What commands print of runs; the JSON keys are stable, and listed in docs/cli.md."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from studio_cas.cli.rendering import age, printable, size, timestamp
from studio_cas.experiment.runs import run_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studio_cas.experiment.lifecycle import Attempt
    from studio_cas.experiment.states import Span
    from studio_cas.formats.experiment import Git, Resources, RunArtifact, Stop, Usage

COMMAND_WIDTH = 48  # characters of a command in a table
DIFF_LINES = 20
CAPTURED = {True: "all along", False: "once"}


def run_record(attempt: Attempt) -> dict[str, Any]:
    """A run, as `studio runs list` shows it."""
    created, started, ended = attempt.created, attempt.started, attempt.ended
    return {
        "experiment": created.experiment,
        "attempt": created.attempt,
        "status": attempt.status.value,
        "exit_code": attempt.exit_code,
        "user": created.user,
        "host": started.host if started else created.host,
        "command": list(created.command),
        "folder": created.folder,
        "created": timestamp(created.time),
        "started": timestamp(started.time) if started else None,
        "ended": timestamp(ended.time) if ended else None,
        "seen": timestamp(attempt.seen),
        "duration": attempt.duration,
    }


def full_record(attempt: Attempt, left: Mapping[str, Span], stop: Stop | None) -> dict[str, Any]:
    """All that is recorded of a run; `left` are the versions of its artifacts."""
    created, started, ended = attempt.created, attempt.started, attempt.ended
    return {
        **run_record(attempt),
        "repeats": created.repeats or None,
        "period": created.period,
        "artifacts": [_artifact_record(artifact, left) for artifact in artifacts_of(attempt, left)],
        "python": created.python or (started.python if started else None),
        "python_version": started.python_version if started else None,
        "packages": dict(started.packages) if started else None,
        "platform": started.platform if started else None,
        "pid": started.pid if started else None,
        "runner": started.runner if started else None,
        "resources": _resources_record(started.resources if started else None),
        "git": _git_record(started.git if started else None),
        "usage": _usage_record(ended.usage if ended else None),
        "durations": durations(attempt),
        "stop": {"user": stop.user, "host": stop.host, "time": timestamp(stop.time)} if stop else None,
        "problems": list(ended.problems) if ended else [],
    }


def artifacts_of(attempt: Attempt, left: Mapping[str, Span]) -> list[RunArtifact]:
    """The artifacts that were asked for, and `output`, whose file is no path that anybody chose."""
    from studio_cas.formats.experiment import RunArtifact

    asked = list(attempt.created.artifacts)
    known = {artifact.tag for artifact in asked}
    return asked + [RunArtifact(tag, "", mutable=True, default=True) for tag in left if tag not in known]


def _artifact_record(artifact: RunArtifact, left: Mapping[str, Span]) -> dict[str, Any]:
    first, last = left.get(artifact.tag, (None, None)) if artifact.reuse is None else (None, None)
    reuse = artifact.reuse
    return {
        "tag": artifact.tag,
        "path": artifact.path or None,
        "captured": "reused" if reuse else CAPTURED[artifact.mutable],
        "default": artifact.default,
        "first_version": first,
        "last_version": last,
        "reuse": {"experiment": reuse.experiment, "tag": reuse.tag, "version": reuse.number, "manifest": reuse.manifest}
        if reuse
        else None,
    }


def _resources_record(resources: Resources | None) -> dict[str, Any] | None:
    if resources is None:
        return None
    gpus = [{"name": gpu.name, "memory": gpu.memory, "driver": gpu.driver} for gpu in resources.gpus]
    return {"cpus": resources.cpus, "memory": resources.memory, "gpus": gpus}


def _git_record(git: Git | None) -> dict[str, Any] | None:
    if git is None:
        return None
    return {
        "commit": git.commit,
        "branch": git.branch,
        "dirty": git.dirty,
        "remote": git.remote,
        "diff": git.diff,
        "diff_cut": git.diff_cut,
    }


def _usage_record(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds, "peak_memory": usage.peak_memory}


def durations(attempt: Attempt) -> dict[str, float | None]:
    """Seconds: before the script (with what is captured once), the script, and the last captures after it."""
    created, started, ended = attempt.created, attempt.started, attempt.ended
    script = ended.usage.seconds if ended and ended.usage else None
    after = None
    if started and ended and script is not None:
        after = max(0.0, ended.time - started.time - script)
    before = max(0.0, started.time - created.time) if started else None
    return {"before": before, "script": script, "after": after}


def row_of_run(attempt: Attempt, now: float) -> tuple[str, ...]:
    """One line of `studio runs list`."""
    created = attempt.created
    host = attempt.started.host if attempt.started else created.host
    took = attempt.duration
    return (
        run_name(created),
        attempt.status.value,
        age(now - created.time),
        "" if took is None else spell(took),
        "" if attempt.exit_code is None else str(attempt.exit_code),
        printable(f"{created.user}@{host}"),
        _shortened(attempt),
    )


def spell(seconds: float) -> str:
    """A duration for a person: 0.4s, 12s, 3m20s, 2h5m, 3d4h."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    rest = round(seconds)
    for length, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if rest >= length:
            return f"{rest // length}{unit}{rest % length // below}{small}"
    return f"{rest}s"


def _shortened(attempt: Attempt) -> str:
    """The command without the path of its Python, cut where it is long."""
    created = attempt.created
    words = created.command[1:] if created.command[0] == created.python else created.command
    text = printable(shlex.join(words))
    return text if len(text) <= COMMAND_WIDTH else text[: COMMAND_WIDTH - 1] + "…"


def lines_of_run(attempt: Attempt, left: Mapping[str, Span], stop: Stop | None, now: float) -> list[tuple[str, str]]:
    """Label and text of each line of `studio runs show`."""
    created, ended = attempt.created, attempt.ended
    code = "" if attempt.exit_code is None else f", exit code {attempt.exit_code}"
    lines = [
        ("run", run_name(created)),
        ("status", f"{attempt.status.value}{code}"),
        ("command", shlex.join(created.command)),
        ("folder", created.folder),
        ("by", created.user),
        ("created", f"{timestamp(created.time)} ({age(now - created.time)}) on {created.host}"),
    ]
    if created.repeats:
        lines.append(("repeats", created.repeats))
    lines += _started_lines(attempt)
    if ended is not None:
        lines.append(("ended", timestamp(ended.time)))
    else:
        lines.append(("seen", f"{timestamp(attempt.seen)} ({age(now - attempt.seen)})"))
    if stop is not None:
        lines.append(("stop", f"asked for by {stop.user} on {stop.host} at {timestamp(stop.time)}"))
    lines += _took_lines(attempt)
    lines += [("artifact", _artifact_line(artifact, left)) for artifact in artifacts_of(attempt, left)]
    return lines + [("problem", problem) for problem in (ended.problems if ended else ())]


def _started_lines(attempt: Attempt) -> list[tuple[str, str]]:
    started = attempt.started
    if started is None:
        return []
    lines = [
        ("started", f"{timestamp(started.time)} on {started.host}, process {started.pid}"),
        ("platform", started.platform),
        ("python", f"{started.python_version} ({started.python}), {len(started.packages)} packages"),
    ]
    if started.resources is not None:
        lines.append(("machine", _machine_line(started.resources)))
    if started.git is not None:
        lines += _git_lines(started.git)
    return lines


def _machine_line(resources: Resources) -> str:
    gpus = [f"{gpu.name} ({size(gpu.memory)})" for gpu in resources.gpus]
    return ", ".join([f"{resources.cpus:g} processors", f"{size(resources.memory)} of memory", *(gpus or ["no GPU"])])


def _git_lines(git: Git) -> list[tuple[str, str]]:
    where = f" of {git.remote}" if git.remote else ""
    lines = [("git", f"{git.commit} on {git.branch}{where}{', with uncommitted changes' if git.dirty else ''}")]
    diff = git.diff.splitlines()
    lines += [("", line) for line in diff[:DIFF_LINES]]
    if len(diff) > DIFF_LINES:
        lines.append(("", f"… {len(diff) - DIFF_LINES} more lines: studio runs show --json has them"))
    return lines


def _took_lines(attempt: Attempt) -> list[tuple[str, str]]:
    usage = attempt.ended.usage if attempt.ended else None
    if usage is None:
        return [("took", spell(attempt.duration))] if attempt.duration is not None else []
    parts = durations(attempt)
    around = [f"{spell(parts[name] or 0.0)} {name} it" for name in ("before", "after")]
    memory = f"{spell(usage.cpu_seconds)} of processor time, at most {size(usage.peak_memory)} in one process"
    return [("took", f"{spell(usage.seconds)} the script, {', '.join(around)}"), ("used", memory)]


def _artifact_line(artifact: RunArtifact, left: Mapping[str, Span]) -> str:
    if artifact.reuse is not None:
        reuse = artifact.reuse
        return f"{artifact.tag}: reused, {reuse.experiment}/{reuse.tag}@{reuse.number} in {artifact.path}"
    first, last = left.get(artifact.tag, (0, 0))
    versions = "no version" if not last else f"version {last}" if first == last else f"versions {first} to {last}"
    path = f", {artifact.path}" if artifact.path else ""
    return f"{artifact.tag}: captured {CAPTURED[artifact.mutable]}, {versions}{path}"
