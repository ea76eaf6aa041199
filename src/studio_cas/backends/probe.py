"""Does a service keep create-if-absent? A decorator that tries it before the first write, once a machine and store.

Everything that many writers do at once rests on this one condition, and a service that does not know it does not say
so: it answers as if it had kept it, and overwrites. So an object is created twice, and the second must fail.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from studio_cas.backends.passing import Passing
from studio_cas.errors import ObjectExistsError, OverwritesError, StudioError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from studio_cas.backends.base import Backend
    from studio_cas.ids import Buffer

TRIALS: Final = "doctor/"
"""The prefix of objects that try something out. They hold no data; anybody who may can delete them."""


def check_create_only(backend: Backend) -> None:
    """Create an object twice. Raises OverwritesError where the second one replaces the first.

    The object is deleted where the credential may; else a few bytes stay.
    """
    key = f"{TRIALS}{secrets.token_hex(16)}"
    backend.create(key, [b"the first"])
    try:
        backend.create(key, [b"the second"])  # other bytes, so that nobody takes it for a repetition
    except ObjectExistsError:
        return
    finally:
        with suppress(StudioError):
            backend.delete(key)
    raise OverwritesError(
        f"{backend.url} overwrites what exists, so that writers would destroy each other's work: its service ignores "
        "that an object is to be created only where there is none"
    )


class Probed(Passing):
    """Pass everything on to `inner`; before the first create, `check_create_only`.

    `memory` is a folder that keeps what was found well, by the store's URL and `place`, which tells apart equal URLs of
    different services; without it, every process probes.
    """

    def __init__(self, inner: Backend, memory: Path | None = None, place: str = "") -> None:
        super().__init__(inner)
        name = hashlib.sha256(f"{inner.url}\n{place}".encode()).hexdigest()[:32]
        self._mark = memory / name if memory else None
        self._lock = threading.Lock()
        self._found_well = False

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """As `inner`. Raises OverwritesError."""
        if not self._found_well:
            with self._lock:
                self._probe()
        self.inner.create(key, parts)

    def _probe(self) -> None:
        if self._found_well:
            return
        if self._mark is None or not self._mark.exists():
            check_create_only(self.inner)
            self._remember()
        self._found_well = True

    def _remember(self) -> None:
        """Note it; where the home can not be written, the next process probes again."""
        if self._mark is not None:
            with suppress(OSError):
                self._mark.parent.mkdir(parents=True, exist_ok=True)
                self._mark.write_text(f"{self.url}\n", encoding="ascii")
