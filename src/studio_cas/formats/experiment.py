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
from collections.abc import Mapping  # noqa: TC003 (the types of the fields are read when a record is decoded)
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from studio_cas.errors import CorruptError
from studio_cas.formats import document
from studio_cas.formats.keys import EXPERIMENTS

if TYPE_CHECKING:
    from typing import TypeAlias

    from studio_cas.ids import Buffer

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
    """What was asked for. `period`: seconds between captures.

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


def heartbeat_number(key: str) -> int:
    """The number of the heartbeat under `key`."""
    return HEARTBEAT_LIMIT - int(key.rsplit("/", 1)[1])


def encode(record: Record) -> bytes:
    """The record as JSON; times are readable, odd bytes in names survive."""
    row = {"format": FORMAT_NUMBER, "kind": type(record).__name__.lower(), **asdict(record)}
    row["time"] = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="microseconds")
    return json.dumps(row, indent=1, ensure_ascii=True).encode() + b"\n"


def decode_owner(data: Buffer) -> Owner:
    """Raises CorruptError."""
    return _decode(data, Owner)


def decode_created(data: Buffer) -> Created:
    """Raises CorruptError."""
    return _decode(data, Created)


def decode_started(data: Buffer) -> Started:
    """Raises CorruptError."""
    return _decode(data, Started)


def decode_heartbeat(data: Buffer) -> Heartbeat:
    """Raises CorruptError."""
    return _decode(data, Heartbeat)


def decode_stop(data: Buffer) -> Stop:
    """Raises CorruptError."""
    return _decode(data, Stop)


def decode_ended(data: Buffer) -> Ended:
    """Raises CorruptError."""
    return _decode(data, Ended)


def _decode(data: Buffer, kind: type[_Kind]) -> _Kind:
    """The fields and types of the class are the format; what a newer program wrote beside them is passed over."""
    name = kind.__name__.lower()
    with document.reading(f"a {name} record of an experiment cannot be read"):
        row = document.parse(data)
        found = f"{row['kind']!s:.20}", f"{row['format']!s:.20}"
        if document.integer(row["format"]) != FORMAT_NUMBER:
            raise CorruptError(
                f"a {name} record has format {found[1]}: a newer studio_cas wrote it; upgrade to read it"
            )
        if row["kind"] != name:
            raise CorruptError(f"a record of kind {found[0]!r} lies where {name} is expected")
        return document.built(kind, {**row, "time": document.moment(row["time"])})
