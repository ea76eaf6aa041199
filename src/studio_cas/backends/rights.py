"""What a credential may do in a bucket: asked where the service tells, tried out where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend

CREATE: Final = "create"
READ: Final = "read"
LIST: Final = "list"
DELETE: Final = "delete"
OVERWRITE: Final = "overwrite"
ADMINISTER: Final = "administer the bucket"
ORDER: Final = (CREATE, READ, LIST, DELETE, OVERWRITE, ADMINISTER)
NEEDED: Final = frozenset({CREATE, READ, LIST})
"""What everything needs but `runs rm` and the collector."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights that are `held`, of those that were looked at."""

    held: frozenset[str]
    looked_at: frozenset[str]

    @property
    def too_many(self) -> tuple[str, ...]:
        """What whoever runs experiments does not need."""
        return tuple(right for right in ORDER if right in self.held - NEEDED)

    @property
    def missing(self) -> tuple[str, ...]:
        """What whoever runs experiments needs and does not have; a reader needs no `create`."""
        return tuple(right for right in ORDER if right in (NEEDED & self.looked_at) - self.held)


@runtime_checkable
class Telling(Protocol):
    """A backend that can say what its credential may do."""

    def rights(self, *, trial: bool) -> Rights | None:
        """The rights; None where they can not be known. With `trial`, objects may be created to find out.

        Raises StudioError.
        """
        ...


def rights_of(backend: Backend, *, trial: bool) -> Rights | None:
    """The rights of the credential behind `backend` and its decorators; None where they can not be known."""
    bare: object = backend
    while hasattr(bare, "inner"):
        bare = bare.inner
    return bare.rights(trial=trial) if isinstance(bare, Telling) else None
