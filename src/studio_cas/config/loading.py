"""Reading the configuration: file, environment, options, defaults; the later ones fill what the earlier left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio_cas.backends.tilde import expanded
from studio_cas.config.durations import parse_duration
from studio_cas.config.home import HOME_VARIABLE, default_store, studio_home
from studio_cas.config.settings import DEFAULT_ARTIFACTS, VARIABLES, Config, Storage
from studio_cas.config.sizes import parse_size
from studio_cas.config.spelling import check_keys, did_you_mean
from studio_cas.config.storage import parse_storage
from studio_cas.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studio_cas.config.settings import Origin

FILE_NAME = "config.yaml"
FILE_VARIABLE = "STUDIOML_CONFIG"
KEYS = (
    "storage", "saveWorkspaceFrequency", "gracePeriod", "offlineBudget", "queue", "user", "compression",
    "defaultArtifacts", "requireSignatures",
)  # fmt: skip
UNUSED_KEYS = (  # what the original's files may hold; accepted, so that such a file works, and shown as unused
    "cloud", "database", "docker", "env", "experimentLifetime", "log", "optimizer", "pip", "resources_needed",
    "saveMetricsFrequency", "server", "sleep_time", "verbose", "worker_timeout",
)  # fmt: skip
_OPTIONS = ("storage", "saveWorkspaceFrequency", "gracePeriod", "queue", "user", "compression")


def load_config(
    file: str | os.PathLike[str] | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The configuration in force.

    `file` is what `--config` named, else `$STUDIOML_CONFIG`, else `config.yaml` in the home, where it exists. `options`
    are values from the command line, by the keys of the file; they win over the environment, which wins over the file.
    Raises ConfigError, in one sentence.
    """
    environment = os.environ if environ is None else environ
    folder = studio_home({HOME_VARIABLE: os.fspath(home)} if home else environment)
    path, origin_of_home = _find_file(file, folder, environment), _home_origin(home, environment)
    section = _read(path) if path else {}
    name = str(path)
    check_keys(section, KEYS, UNUSED_KEYS, name)
    given, origins = _merge(section, environment, options or {})
    origins["home"] = origin_of_home
    base = path.parent if path and origins.get("storage") == "file" else Path.cwd()
    storage = parse_storage(given["storage"], base, default_store(folder)) if "storage" in given else None
    _origins_of_storage(given.get("storage"), origins)
    return Config(
        home=folder,
        file=path,
        storage=storage or Storage(str(default_store(folder))),
        save_workspace_frequency=_period(given, origins),
        offline_budget=_size(given["offlineBudget"], "offlineBudget") if "offlineBudget" in given else None,
        grace_period=parse_duration(given.get("gracePeriod", "30s"), "gracePeriod"),
        queue=_text(given.get("queue", "local"), "queue"),
        user=_text(given["user"], "user") if "user" in given else _login(),
        compression=_switch(given.get("compression", True), "compression"),
        require_signatures=_switch(given.get("requireSignatures", False), "requireSignatures"),
        default_artifacts=_artifacts(given.get("defaultArtifacts", list(DEFAULT_ARTIFACTS))),
        origins=origins,
        unused=tuple(key for key in section if key in UNUSED_KEYS),
        warnings=_check_credentials(storage),
    )


def _find_file(file: str | os.PathLike[str] | None, home: Path, environ: Mapping[str, str]) -> Path | None:
    named = file or environ.get(FILE_VARIABLE)
    if not named:
        usual = home / FILE_NAME
        return usual if usual.exists() else None
    path = Path(os.path.abspath(expanded(os.fspath(named))))  # noqa: PTH100  # keeps links
    if not path.exists():
        said = "--config" if file else FILE_VARIABLE
        raise ConfigError(f"the configuration file {path}, named by {said}, does not exist")
    return path


def _home_origin(home: object, environ: Mapping[str, str]) -> Origin:
    if home:
        return "option"
    return "environment" if environ.get(HOME_VARIABLE) else "default"


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "a mistake"
        raise ConfigError(f"{path}{place}: this is not YAML: {problem}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a configuration has lines `key: value`, this one is a {type(document).__name__}")
    return document


def _merge(
    section: Mapping[str, Any], environ: Mapping[str, str], options: Mapping[str, object]
) -> tuple[dict[str, Any], dict[str, Origin]]:
    """The values that somebody gave, and who did."""
    given: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    sources: list[tuple[Origin, Mapping[str, Any]]] = [
        ("file", {key: section.get(key) for key in KEYS}),
        ("environment", {key: environ.get(name) or None for key, name in VARIABLES.items() if key in KEYS}),
        ("option", {key: options.get(key) for key in _OPTIONS}),
    ]
    for origin, values in sources:
        for key, value in values.items():
            if value is not None:
                given[key], origins[key] = value, origin
    return given, origins


def _origins_of_storage(value: object, origins: dict[str, Origin]) -> None:
    if isinstance(value, dict):
        for key in ("credentials", "endpoint", "project", "region", "account"):
            if value.get(key):
                origins[f"storage.{key}"] = origins["storage"]


def _text(value: object, key: str) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return str(value).strip()
    raise ConfigError(f"{key}: {value!r} is not a name")


def _period(given: Mapping[str, Any], origins: Mapping[str, Origin]) -> float:
    key = "saveWorkspaceFrequency"
    return parse_duration(given.get(key, "1m"), "--interval" if origins.get(key) == "option" else key)


def _size(value: object, key: str) -> int:
    """Bytes; a bare number is bytes."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigError(f"{key}: {value!r} is no size: write a number and a unit, as 500MiB or 50GiB")
    try:
        return parse_size(str(value), key)
    except UsageError as error:
        raise ConfigError(str(error)) from error


def _switch(value: object, key: str) -> bool:
    """YAML reads a bare on, off, yes, no as a boolean; in quotes they are texts."""
    words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ConfigError(f"{key}: {value!r} is neither on nor off")


def _artifacts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"defaultArtifacts: {value!r} is not a list: write [{', '.join(DEFAULT_ARTIFACTS)}]")
    for tag in value:
        if tag not in DEFAULT_ARTIFACTS:
            hint = did_you_mean(str(tag), DEFAULT_ARTIFACTS) or f": they are {', '.join(DEFAULT_ARTIFACTS)}"
            raise ConfigError(f"defaultArtifacts: {tag!r} is not a default artifact{hint}")
    return tuple(tag for tag in DEFAULT_ARTIFACTS if tag in value)


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no entry in the password file
        return f"uid{os.getuid()}"


def _check_credentials(storage: Storage | None) -> tuple[str, ...]:
    """Warn of a credentials file that others can read. Raises ConfigError where there is none."""
    path = storage.credentials if storage else None
    if path is None:
        return ()
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise ConfigError(f"storage.credentials: {path} cannot be read: {error.strerror}") from error
    if not mode & 0o077:
        return ()
    return (f"the credentials file {path} can be read by other users (mode {mode:04o}): run chmod 600 {path}",)
