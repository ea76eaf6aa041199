"""From what a person types to what the store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError

if TYPE_CHECKING:
    from studio_cas.formats.spec import Spec
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store


def find(store: Store, name: str) -> tuple[Spec, Version]:
    """The spec that `name` spells, and its version. Raises UsageError, and NotFoundError naming what there is."""
    from studio_cas.formats.spec import parse_spec
    from studio_cas.store.versions import resolve_spec

    spec = parse_spec(name)
    return spec, resolve_spec(store, spec)


def find_tags(store: Store, experiment: str) -> list[str]:
    """The tags of `experiment`, ascending. Raises UsageError, and NotFoundError naming the known experiments."""
    from studio_cas.formats.keys import check_name
    from studio_cas.store.versions import list_experiments, list_tags

    tags = list_tags(store, check_name(experiment, "an experiment"))
    if not tags:
        known = list_experiments(store)
        if experiment not in known:
            there_are = f"; there are: {', '.join(known[:20])}" if known else ": the store is empty"
            raise NotFoundError(f"there is no experiment {experiment!r}{there_are}")
    return tags
