"""From what a person types to what the store has."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError, UsageError
from studio_cas.formats.keys import check_name
from studio_cas.formats.spec import Spec, parse_spec

if TYPE_CHECKING:
    from studio_cas.store.store import Store


class Links(enum.StrEnum):
    """What to do with symbolic links that lead outside of the folder they are in."""

    refuse = "refuse"
    skip = "skip"
    allow = "allow"


def parse_scope(name: str) -> tuple[str, Spec | None]:
    """The experiment that `EXP` or `EXP/TAG…` names, and the spec where there is a tag. Raises UsageError."""
    experiment, slash, rest = name.partition("/")
    if slash and rest:
        spec = parse_spec(name)
        return spec.experiment, spec
    return check_name(experiment, "an experiment"), None


def whole_artifact(name: str, command: str) -> Spec:
    """The spec of `EXP/TAG[@VERSION]`. Raises UsageError where it names a part, which `command` does not do."""
    spec = parse_spec(name)
    if spec.path:
        raise UsageError(f"{name!r} names a path: {command} takes whole artifacts, EXP/TAG or EXP/TAG@VERSION")
    return spec


def local_path(text: str, what: str) -> Path:
    """A path of this machine, `~` expanded. Raises UsageError where it is empty, or names the home of nobody."""
    if not text:
        raise UsageError(f"{what} is empty: write a path, or . for this folder")
    from studio_cas.backends.tilde import expanded

    return Path(expanded(text))


def find_tags(store: Store, experiment: str) -> list[str]:
    """The tags of `experiment`, ascending. Raises NotFoundError, naming the known experiments."""
    from studio_cas.store.versions import list_experiments, list_tags

    tags = list_tags(store, experiment)
    if not tags:
        known = list_experiments(store)
        if experiment not in known:
            there_are = f"; there are: {', '.join(known[:20])}" if known else ": the store is empty"
            raise NotFoundError(f"there is no experiment {experiment!r}{there_are}")
    return tags
