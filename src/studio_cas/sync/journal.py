"""What this machine remembers of its daemons, so that a killed one is finished by the next.

    sync/pairs/<id>/     one (real path, experiment, tag, store)
        lock             held by the daemon that has it: an flock, with who it is
        status           what status shows: JSON, replaced whole
    sync/daemons/<id>/   one daemon
        spec             what it was asked to do
        lock             held while it lives
        control          the socket through which it is asked for things
        attended         processes that it lives for, beside those of the spec
        ended            it is done: nothing is left to finish

All under the home. Nothing here is needed to read the store; what is lost costs a final capture.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio_cas.errors import LocalIOError, StudioError
from studio_cas.ids import digest
from studio_cas.sync import lock, spec
from studio_cas.sync.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from studio_cas.sync.lock import Hold
    from studio_cas.sync.spec import DaemonSpec, Pair

ENDED = "ended"
KEPT = 30 * 86_400.0  # seconds that an ended pair stays on the list
ID_DIGITS = 24


def pair_prefix(path: Path | str, experiment: str, tag: str) -> str:
    """How the ids of a path and an artifact begin, whatever the store."""
    named = "\0".join((os.path.realpath(path), experiment, tag))
    return digest(os.fsencode(named)).hex()[:ID_DIGITS]


def pair_id(pair: Pair, store: str) -> str:
    """The id of a pair in the store at the URL `store`."""
    return f"{pair_prefix(pair.path, pair.experiment, pair.tag)}-{digest(os.fsencode(store)).hex()[:8]}"


@dataclass(frozen=True, slots=True)
class PairFolder:
    """What is remembered of one pair."""

    folder: Path

    def hold(self, about: Mapping[str, Any]) -> Hold | None:
        """Hold the pair; None where another process has it. Raises LocalIOError."""
        with _told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            return lock.take(self.folder / "lock", about)

    def holder(self) -> dict[str, Any] | None:
        """Who has the pair; None for nobody."""
        return lock.holder(self.folder / "lock")

    def remove(self) -> None:
        """Forget the pair."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def ended(self) -> bool:
        """Whether its daemon said that nothing is left to do."""
        return (self.read_status() or {}).get("phase") == ENDED

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace what status shows; a disk that is full keeps the last one."""
        with contextlib.suppress(OSError):
            _replace(self.folder / "status", json.dumps(dict(status)).encode())

    def read_status(self) -> dict[str, Any] | None:
        """What was last written; None where there is nothing."""
        return _read_json(self.folder / "status")


@dataclass(frozen=True, slots=True)
class DaemonFolder:
    """What is remembered of one daemon."""

    folder: Path

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def control(self) -> Path:
        """The socket."""
        return self.folder / "control"

    def read_spec(self) -> DaemonSpec:
        """What it was asked to do. Raises CorruptError, LocalIOError."""
        with _told(self.folder):
            return spec.decode((self.folder / "spec").read_bytes())

    def attend(self, process: Process) -> None:
        """Remember that the daemon lives for `process` too."""
        rows = [[one.pid, one.started] for one in {*self.attended(), process}]
        with contextlib.suppress(OSError):
            _replace(self.folder / "attended", json.dumps(rows).encode())

    def attended(self) -> list[Process]:
        """The processes that `attend` was called for."""
        try:
            return [Process(*row) for row in json.loads((self.folder / "attended").read_bytes())]
        except (OSError, ValueError, TypeError):
            return []

    def hold(self) -> Hold | None:
        """Be this daemon; None where another process is."""
        with _told(self.folder):
            return lock.take(self.folder / "lock", {"pid": os.getpid(), "time": time.time()})

    def holder(self) -> dict[str, Any] | None:
        """Who is this daemon; None where it is dead."""
        return lock.holder(self.folder / "lock")

    def has_spec(self) -> bool:
        """Whether it was ever ready to begin: one that was killed before had nothing to do yet."""
        return (self.folder / "spec").exists()

    @property
    def ended(self) -> bool:
        """Whether nothing is left to finish."""
        return (self.folder / "ended").exists()

    def end(self) -> None:
        """Nothing is left to finish."""
        with contextlib.suppress(OSError):
            (self.folder / "ended").touch()

    def remove(self) -> None:
        """Forget the daemon."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of a home."""

    home: Path

    @property
    def _root(self) -> Path:
        return self.home / "sync"

    def pair(self, pair: Pair, store: str) -> PairFolder:
        """The folder of a pair; it need not exist."""
        return PairFolder(self._root / "pairs" / pair_id(pair, store))

    def pairs(self, prefix: str = "") -> list[PairFolder]:
        """Every pair that was ever held, and not forgotten, whose id begins with `prefix`."""
        return [PairFolder(folder) for folder in _folders(self._root / "pairs") if folder.name.startswith(prefix)]

    def daemon(self, name: str) -> DaemonFolder:
        """The folder of the daemon with that id."""
        return DaemonFolder(self._root / "daemons" / name)

    def daemons(self) -> list[DaemonFolder]:
        """Every daemon that is remembered, the oldest first."""
        return [DaemonFolder(folder) for folder in _folders(self._root / "daemons")]

    def enter(self, asked: DaemonSpec) -> DaemonFolder:
        """A new daemon. Raises LocalIOError."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        made = self.daemon(f"{stamp}-{os.urandom(4).hex()}")
        with _told(made.folder):
            made.folder.mkdir(parents=True)
            _replace(made.folder / "spec", spec.encode(asked))
        return made

    def unfinished(self) -> Iterator[DaemonFolder]:
        """Daemons that are dead, and did not end."""
        return (one for one in self.daemons() if not one.ended and one.holder() is None and one.has_spec())

    def forget_old(self, now: float) -> None:
        """Remove what ended daemons left, and pairs that ended long ago."""
        for one in self.daemons():
            if one.ended and one.holder() is None:
                one.remove()
        for folder in self.pairs():
            updated = (folder.read_status() or {}).get("updated", now)
            if folder.ended and now - updated > KEPT and not folder.holder():
                folder.remove()


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(parent.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        row = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) else None


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except StudioError:
        raise
    except OSError as error:
        message = f"the journal of the daemons, {folder}, cannot be used: {error.strerror or error}"
        raise LocalIOError(message) from error
