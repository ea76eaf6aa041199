"""The values of a configuration, complete and checked, each with its origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Origin = Literal["default", "file", "environment", "option"]

VARIABLES = {
    "home": "STUDIOML_HOME",
    "storage": "STUDIOML_STORE",
    "user": "STUDIOML_USER",
    "queue": "STUDIOML_QUEUE",
}
OPTIONS = {"home": "--home", "storage": "--store", "saveWorkspaceFrequency": "--interval", "queue": "--queue"}
DEFAULT_ARTIFACTS = ("workspace", "output", "modeldir", "tb")


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the store is. `url` is a URL, or the absolute path of a local folder; it holds no secret."""

    url: str
    credentials: Path | None = None
    endpoint: str | None = None
    project: str | None = None
    region: str | None = None
    account: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder of a local store, else None."""
        from pathlib import Path

        return None if "://" in self.url else Path(self.url)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of `studio config`: the key as the file spells it, its value, and who said so.

    `source` names the file, the variable or the option; it is empty for a default.
    """

    key: str
    value: str
    origin: Origin
    source: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force.

    `file` is the file that was read, None where there is none. `save_workspace_frequency` is the period of captures in
    seconds; `grace_period` the seconds that a script has to save, once it is asked to stop; `offline_budget`
    the bytes that may wait on this machine for a store that is away, None for a share of the disk. `default_artifacts`
    are the ones that a run captures without being asked. With `require_signatures` nothing is fetched that nobody has
    signed who is trusted. `unused` names keys of the original's configuration that mean
    nothing here; `warnings` are sentences for the person.
    """

    home: Path
    file: Path | None
    storage: Storage
    save_workspace_frequency: float
    queue: str
    user: str
    compression: bool
    default_artifacts: tuple[str, ...]
    grace_period: float = 30.0
    offline_budget: int | None = None
    require_signatures: bool = False
    origins: Mapping[str, Origin] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def settings(self) -> list[Setting]:
        """Every key with its value and origin, as `studio config` shows them."""
        from studio_cas.config.durations import format_duration

        credentials = str(self.storage.credentials or "the machine's own")
        values = {
            "home": str(self.home),
            "storage": self.storage.url,
            "storage.credentials": credentials,
            "storage.endpoint": self.storage.endpoint or "",
            "storage.project": self.storage.project or "",
            "storage.region": self.storage.region or "",
            "storage.account": self.storage.account or "",
            "saveWorkspaceFrequency": format_duration(self.save_workspace_frequency),
            "gracePeriod": format_duration(self.grace_period),
            "offlineBudget": "a share of the disk" if self.offline_budget is None else str(self.offline_budget),
            "requireSignatures": "on" if self.require_signatures else "off",
            "queue": self.queue,
            "user": self.user,
            "compression": "on" if self.compression else "off",
            "defaultArtifacts": ", ".join(self.default_artifacts),
        }
        local = self.storage.folder is not None
        return [
            self._setting(key, value) for key, value in values.items() if not (local and key.startswith("storage."))
        ]

    def _setting(self, key: str, value: str) -> Setting:
        origin = self.origins.get(key, "default")
        section = key.partition(".")[0]
        sources = {
            "file": str(self.file),
            "environment": VARIABLES.get(section, ""),
            "option": OPTIONS.get(section, ""),
        }
        return Setting(key, value, origin, sources.get(origin, ""))
