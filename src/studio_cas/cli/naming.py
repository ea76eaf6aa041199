"""From what a person types to what the store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError
from studio_cas.formats.keys import check_name
from studio_cas.formats.spec import Spec, parse_spec

if TYPE_CHECKING:
    from studio_cas.store.store import Store


def parse_scope(name: str) -> tuple[str, Spec | None]:
    """The experiment that `EXP` or `EXP/TAG…` names, and the spec where there is a tag. Raises UsageError."""
    experiment, slash, rest = name.partition("/")
    if slash and rest:
        spec = parse_spec(name)
        return spec.experiment, spec
    return check_name(experiment, "an experiment"), None


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
