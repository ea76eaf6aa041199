"""The records of an experiment: JSON that a person can read, each created once, none ever changed.

    experiments/<exp>/owner                                who may use the name
    experiments/<exp>/attempts/<4 digits>/created          what was asked for
    experiments/<exp>/attempts/<4 digits>/started          where it runs, and in what environment
    experiments/<exp>/attempts/<4 digits>/heartbeats/<10>  it was alive then (inverted number)
    experiments/<exp>/attempts/<4 digits>/stop             somebody asks it to stop
    experiments/<exp>/attempts/<4 digits>/ended            how it ended

Times are in seconds since the epoch, by the clock of the machine that wrote the record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from studio_cas.errors import CorruptError
from studio_cas.formats.keys import EXPERIMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Record: TypeAlias = "Owner | Created | Started | Heartbeat | Stop | Ended"

FORMAT_NUMBER = 1
ATTEMPT_LIMIT = 9999
HEARTBEAT_LIMIT = 10**10 - 1
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Owner:
    """The user who first used the name of the experiment."""

    experiment: str
    user: str
    host: str
    time: float


@dataclass(frozen=True, slots=True)
class Reuse:
    """The version of another experiment's artifact that a run reads."""

    experiment: str
    tag: str
    number: int
    manifest: str


@dataclass(frozen=True, slots=True)
class RunArtifact:
    """One artifact of a run: captured all the time (`mutable`), captured once, or reused (`reuse`).

    `default`: nobody asked for it by name.
    """

    tag: str
    path: str
    mutable: bool
    reuse: Reuse | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """What was asked for. `period`: seconds between captures; a heartbeat comes as often.

    `python` is the Python that runs scripts, and the first word of `command` where that is one. `defaults` are the
    default artifacts that were wanted; `workspace_all`: the workspace with what it leaves out otherwise. `repeats`:
    the attempt that this one repeats, as `exp@2`.
    """

    experiment: str
    attempt: int
    user: str
    host: str
    time: float
    command: tuple[str, ...]
    folder: str
    period: float
    artifacts: tuple[RunArtifact, ...] = ()
    python: str = ""
    defaults: tuple[str, ...] = ()
    workspace_all: bool = False
    repeats: str = ""


@dataclass(frozen=True, slots=True)
class Git:
    """The state of the repository around the working folder. `diff`: uncommitted changes, cut at a limit."""

    commit: str
    branch: str
    dirty: bool
    remote: str = ""
    diff: str = ""
    diff_cut: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `memory` in bytes."""

    name: str
    memory: int
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """What the machine gives to a run: processors (a container may have a part of one), memory in bytes, GPUs."""

    cpus: float
    memory: int
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What the script took: time from its start to its end, processor time, memory of its largest process in bytes."""

    seconds: float
    cpu_seconds: float
    peak_memory: int


@dataclass(frozen=True, slots=True)
class Started:
    """Where the script runs. `packages`: name to version, of the Python that runs it; `runner`: pid of its parent."""

    time: float
    host: str
    pid: int
    platform: str
    python: str
    python_version: str
    packages: Mapping[str, str] = field(default_factory=dict)
    git: Git | None = None
    runner: int = 0
    resources: Resources | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The runner was alive at `time`."""

    number: int
    time: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody asks the attempt to stop; the first who asks is recorded."""

    time: float
    user: str
    host: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. `exit_code` is None where the script never started; `problems` are sentences.

    `versions`: for each artifact that was captured, the version that held its first state in this attempt, and the
    one that holds its last; they may have been made by an earlier attempt, which left the same content.
    """

    time: float
    status: str
    exit_code: int | None
    problems: tuple[str, ...] = ()
    usage: Usage | None = None
    versions: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def owner_key(experiment: str) -> str:
    """The key of the owner record."""
    return f"{EXPERIMENTS}{experiment}/owner"


def attempts_prefix(experiment: str) -> str:
    """The prefix of all attempts; the next segment is the attempt's number."""
    return f"{EXPERIMENTS}{experiment}/attempts/"


def attempt_key(experiment: str, attempt: int, record: str) -> str:
    """The key of `record`: created, started, stop or ended."""
    return f"{attempts_prefix(experiment)}{attempt:04}/{record}"


def heartbeats_prefix(experiment: str, attempt: int) -> str:
    """The prefix of the heartbeats of an attempt."""
    return attempt_key(experiment, attempt, "heartbeats/")


def heartbeat_key(experiment: str, attempt: int, number: int) -> str:
    """The key of heartbeat `number`: inverted, so that the newest sorts first."""
    return f"{heartbeats_prefix(experiment, attempt)}{HEARTBEAT_LIMIT - number:010}"


def encode(record: Record) -> bytes:
    """The record as JSON; times are readable, odd bytes in names survive."""
    document = {"format": FORMAT_NUMBER, "kind": type(record).__name__.lower(), **asdict(record)}
    document["time"] = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="microseconds")
    return json.dumps(document, indent=1, ensure_ascii=True).encode() + b"\n"


def decode_owner(data: bytes) -> Owner:
    """Raises CorruptError."""
    return _decode(data, "owner", lambda row: Owner(**_pick(row, Owner)))


def decode_created(data: bytes) -> Created:
    """Raises CorruptError."""

    def build(row: dict[str, Any]) -> Created:
        row["command"] = tuple(str(word) for word in row["command"])
        row["artifacts"] = tuple(map(_artifact, row["artifacts"]))
        row["defaults"] = tuple(row.get("defaults", ()))
        return Created(**_pick(row, Created))

    return _decode(data, "created", build)


def decode_started(data: bytes) -> Started:
    """Raises CorruptError."""

    def build(row: dict[str, Any]) -> Started:
        row["git"] = Git(**_pick(row["git"], Git)) if row.get("git") else None
        row["resources"] = _resources(row["resources"]) if row.get("resources") else None
        return Started(**_pick(row, Started))

    return _decode(data, "started", build)


def decode_heartbeat(data: bytes) -> Heartbeat:
    """Raises CorruptError."""
    return _decode(data, "heartbeat", lambda row: Heartbeat(**_pick(row, Heartbeat)))


def decode_stop(data: bytes) -> Stop:
    """Raises CorruptError."""
    return _decode(data, "stop", lambda row: Stop(**_pick(row, Stop)))


def decode_ended(data: bytes) -> Ended:
    """Raises CorruptError."""

    def build(row: dict[str, Any]) -> Ended:
        row["problems"] = tuple(row.get("problems", ()))
        row["usage"] = Usage(**_pick(row["usage"], Usage)) if row.get("usage") else None
        row["versions"] = {tag: (int(first), int(last)) for tag, (first, last) in row.get("versions", {}).items()}
        return Ended(**_pick(row, Ended))

    return _decode(data, "ended", build)


def _artifact(row: dict[str, Any]) -> RunArtifact:
    reuse = Reuse(**_pick(row["reuse"], Reuse)) if row.get("reuse") else None
    return RunArtifact(**{**_pick(row, RunArtifact), "reuse": reuse})


def _resources(row: dict[str, Any]) -> Resources:
    gpus = tuple(Gpu(**_pick(gpu, Gpu)) for gpu in row.get("gpus", ()))
    return Resources(**{**_pick(row, Resources), "gpus": gpus})


def _pick(row: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """What `kind` knows of `row`: a newer program may have written more."""
    return {name: row[name] for name in kind.__dataclass_fields__ if name in row}


def _decode(data: bytes, kind: str, build: Callable[[dict[str, Any]], _Kind]) -> _Kind:
    try:
        row = json.loads(data)
        if row["format"] != FORMAT_NUMBER:
            number = row["format"]
            raise CorruptError(f"a {kind} record has format {number}: a newer studio_cas wrote it; upgrade to read it")
        if row["kind"] != kind:
            raise CorruptError(f"a record of kind {row['kind']!r} lies where {kind} is expected")
        row["time"] = datetime.fromisoformat(row["time"]).timestamp()
        return build(row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptError(f"a {kind} record of an experiment cannot be read: {error!r}") from error
