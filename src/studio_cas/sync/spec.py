"""What a daemon is asked to do: its pairs, its store, its pace; as values, and as the JSON of its spec file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio_cas.config import Storage
from studio_cas.errors import CorruptError
from studio_cas.sync.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studio_cas.config import Config

FORMAT_NUMBER = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """A folder or a file, and the artifact whose versions it becomes.

    `exclude` are folders to leave out, `ignore` gitignore patterns; `optional`: not captured while it is empty.
    """

    path: Path
    experiment: str
    tag: str
    exclude: tuple[Path, ...] = ()
    ignore: tuple[str, ...] = ()
    optional: bool = False

    @property
    def name(self) -> str:
        """`exp/tag`."""
        return f"{self.experiment}/{self.tag}"


@dataclass(frozen=True, slots=True)
class DaemonSpec:
    """One daemon.

    `period`: seconds between sweeps; `first`: seconds until the first one; `max_rate`: bytes a second to and from the
    store, None for no limit; `offline_budget`: bytes that may wait here while the store is away, None for a share of
    the disk; `stand_back`: with a low priority; `until`: the daemon ends when all of these have ended; `run`: what a
    companion of the daemon needs to know, None where there is none.
    """

    pairs: tuple[Pair, ...]
    storage: Storage
    home: Path
    user: str
    compression: bool = True
    period: float = 60.0
    first: float = 0.0
    max_rate: int | None = None
    offline_budget: int | None = None
    stand_back: bool = True
    until: tuple[Process, ...] = ()
    run: Mapping[str, Any] | None = field(default=None)


def spec_of(config: Config, pairs: tuple[Pair, ...], **options: Any) -> DaemonSpec:
    """A daemon for `pairs` with the store, the user and the period of `config`; `options` are fields of DaemonSpec."""
    settings = {"period": config.save_workspace_frequency, "offline_budget": config.offline_budget, **options}
    return DaemonSpec(pairs, config.storage, config.home, config.user, config.compression, **settings)


def encode_pair(pair: Pair) -> dict[str, Any]:
    """The pair as JSON values."""
    return {
        "path": str(pair.path),
        "experiment": pair.experiment,
        "tag": pair.tag,
        "exclude": [str(path) for path in pair.exclude],
        "ignore": list(pair.ignore),
        "optional": pair.optional,
    }


def _decode_pair(row: Mapping[str, Any]) -> Pair:
    return Pair(
        Path(row["path"]),
        row["experiment"],
        row["tag"],
        tuple(Path(path) for path in row["exclude"]),
        tuple(row["ignore"]),
        bool(row["optional"]),
    )


def encode(spec: DaemonSpec) -> bytes:
    """The spec as JSON; it holds no secret, only the name of the credentials' file."""
    storage = spec.storage
    document = {
        "format": FORMAT_NUMBER,
        "pairs": [encode_pair(pair) for pair in spec.pairs],
        "storage": {
            "url": storage.url,
            "credentials": str(storage.credentials) if storage.credentials else None,
            "endpoint": storage.endpoint,
            "project": storage.project,
            "region": storage.region,
            "account": storage.account,
        },
        "home": str(spec.home),
        "user": spec.user,
        "compression": spec.compression,
        "period": spec.period,
        "first": spec.first,
        "max_rate": spec.max_rate,
        "offline_budget": spec.offline_budget,
        "stand_back": spec.stand_back,
        "until": [[process.pid, process.started] for process in spec.until],
        "run": spec.run,
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def decode(data: bytes) -> DaemonSpec:
    """Raises CorruptError."""
    try:
        row = json.loads(data)
        if row.pop("format") != FORMAT_NUMBER:
            raise CorruptError("a daemon's spec was written by another version of studio: let that one finish it")
        storage = row.pop("storage")
        credentials = storage["credentials"]
        return DaemonSpec(
            pairs=tuple(_decode_pair(pair) for pair in row.pop("pairs")),
            storage=Storage(
                storage["url"],
                Path(credentials) if credentials else None,
                storage["endpoint"],
                storage["project"],
                storage.get("region"),
                storage.get("account"),
            ),
            home=Path(row.pop("home")),
            until=tuple(Process(pid, started) for pid, started in row.pop("until")),
            **row,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptError(f"a daemon's spec cannot be read: {error!r}") from error
