"""What a copy to another store would move: versions, bytes and records, with nothing written anywhere.

Data are counted as frames, as they lie in the packs of the source: 8 bytes each, 32 MiB for a TiB. A copy adds about as
much; small files that lie together are compressed once more, with others.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError, NotFoundError
from studio_cas.moving.copying import CopiedVersion, missing_chunks
from studio_cas.moving.copying_records import check_owner, missing_records
from studio_cas.moving.mirroring import check_stores, wanted_versions
from studio_cas.store import versions
from studio_cas.store.verifying import check_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from studio_cas.formats.leaf import Place
    from studio_cas.formats.version import Version
    from studio_cas.ids import PackId
    from studio_cas.moving.mirroring import Scope
    from studio_cas.store.store import Store

_LENGTH_BITS = 32


class ForeseenData:
    """The frames that would be read, each once, and the packs of the source that they lie in."""

    def __init__(self) -> None:
        self._frames: dict[PackId, array[int]] = {}
        self.stored = 0

    @property
    def packs(self) -> int:
        """In how many objects of the source they lie."""
        return len(self._frames)

    def add(self, places: Iterable[Place]) -> int:
        """Chunks at `places` are missing; how many bytes are stored of what was not foreseen before."""
        added: dict[PackId, set[int]] = {}
        for place in places:
            added.setdefault(place.pack, set()).add(place.offset << _LENGTH_BITS | place.stored)
        before = self.stored
        for pack, frames in added.items():
            known = self._frames.setdefault(pack, array("Q"))
            fresh = frames.difference(known)
            known.extend(fresh)
            self.stored += sum(frame & ((1 << _LENGTH_BITS) - 1) for frame in fresh)
        return self.stored - before


@dataclass(slots=True)
class Forecast:
    """What scopes together would move. `records`: of runs."""

    data: ForeseenData = field(default_factory=ForeseenData)
    records: int = 0


def foresee_scope(
    source: Store,
    target: Store | None,
    scope: Scope,
    forecast: Forecast,
    *,
    join: bool = False,
    tell: Callable[[CopiedVersion], None] = lambda _: None,
) -> None:
    """Add to `forecast` what a copy of `scope` would move; `target` is None where there is no such store yet.

    `tell` hears of each version: "missing", with the bytes that it adds to those before it, "there" or "failed". Raises
    what the copy would raise.
    """
    check_stores(source, target)
    if scope.spec is not None:
        versions.resolve_spec(source, scope.spec)
    if target is not None:
        check_owner(source.backend, target.backend, scope.experiment, join=join)
    for tag, number in wanted_versions(source, scope):
        try:
            named = versions.read(source, scope.experiment, tag, number)
            version, _ = check_source(source, named, signing=source.signer is not None)
            found = _foresee(source, target, version, forecast.data)
        except NotFoundError:  # it was removed
            continue
        except CorruptError as error:
            found = CopiedVersion(scope.experiment, tag, number, "failed", reason=str(error))
        tell(found)
    if scope.spec is None:
        forecast.records += missing_records(source.backend, target.backend if target else None, scope.experiment)


def _foresee(source: Store, target: Store | None, version: Version, data: ForeseenData) -> CopiedVersion:
    missing = missing_chunks(source, target, version)
    name = (version.experiment, version.tag, version.number)
    if isinstance(missing, int):
        return CopiedVersion(*name, "there", number=missing, size=version.size)
    stored = sum(data.add(places) for places in missing)
    return CopiedVersion(*name, "missing", size=version.size, stored=stored)
