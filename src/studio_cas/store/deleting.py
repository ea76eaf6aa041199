"""Delete many objects at once; one that is gone already was deleted by somebody else, and is no error."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from studio_cas.errors import NotFoundError, PermissionDeniedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from studio_cas.backends.base import Backend
    from studio_cas.progress import Progress

AT_ONCE: Final = 32
AT_ONCE_LOCAL: Final = 4
REFUSALS: Final = 100  # from then on nobody believes that others may be deleted


@dataclass(frozen=True, slots=True)
class Amount:
    """So many objects, with so many bytes together."""

    objects: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Self:
        """Objects of these sizes."""
        found = list(sizes)
        return cls(len(found), sum(found))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.objects + other.objects, self.bytes + other.bytes)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.objects - other.objects, self.bytes - other.bytes)


class Deleting:
    """A pool of threads that delete from `backend`."""

    def __init__(self, backend: Backend, progress: Progress) -> None:
        self._backend = backend
        self._progress = progress
        self._at_once = AT_ONCE_LOCAL if backend.local else AT_ONCE
        self._pool = ThreadPoolExecutor(self._at_once, "delete")
        self._done = Amount()
        self._refused: list[PermissionDeniedError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def delete(self, objects: Iterable[tuple[str, int]]) -> Amount:
        """Delete the keys, whose sizes stand beside them; what was really there.

        Those that may not be deleted do not keep it from the others. Raises PermissionDeniedError, TransientError,
        which say how far it came.
        """
        flights: deque[tuple[int, Future[bool]]] = deque()
        try:
            for key, size in objects:
                if len(flights) >= 2 * self._at_once:
                    self._land(*flights.popleft())
                flights.append((size, self._pool.submit(self._delete, key)))
            while flights:
                self._land(*flights.popleft())
        except TransientError as error:
            raise TransientError(f"{error}; {self._so_far()}: call it again") from error
        if self._refused:
            raise PermissionDeniedError(f"{self._refused[0]}; {self._so_far()}") from self._refused[0]
        return self._done

    def _so_far(self) -> str:
        refused = f", refused: {len(self._refused):,} (a retention rule or a hold may end)" if self._refused else ""
        return f"objects that were deleted: {self._done.objects:,}{refused}"

    def _land(self, size: int, flight: Future[bool]) -> None:
        try:
            if flight.result():
                self._done += Amount(1, size)
        except PermissionDeniedError as error:
            self._refused.append(error)
            if len(self._refused) > REFUSALS:
                raise PermissionDeniedError(f"{error}; {self._so_far()}") from error
        self._progress.advance(size, 1)

    def _delete(self, key: str) -> bool:
        """Whether it was there."""
        try:
            self._backend.delete(key)
        except NotFoundError:
            return False
        return True
