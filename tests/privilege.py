"""For `--least-privilege`: stores in folders become stores in a bucket that refuses every delete and overwrite."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from studio_cas.backends import opening
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

OPTION = "--least-privilege"


def create_only(config: pytest.Config) -> bool:
    """Whether the tests run with a credential that may create, read and list, and nothing else."""
    return bool(config.getoption(OPTION))


@contextmanager
def create_only_bucket() -> Iterator[FaultyGcs]:
    """A service with a bucket that answers 403 to whatever deletes or overwrites, and `requests` that say so."""
    with serve(FaultyGcs) as service:
        service.create_only = True
        yield service


def url_of(path: str | os.PathLike[str]) -> str:
    """Where in the bucket the store of a folder is."""
    return f"gs://{BUCKET}/{quote(str(Path(path).absolute())).strip('/')}"


def move_folders_to(service: FaultyGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a store that is opened in a folder, by this process, is one in the bucket."""
    opened = opening.open_backend
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", service.endpoint)

    def in_bucket(path: str) -> Any:
        return opened(url_of(path), endpoint=service.endpoint)

    monkeypatch.setattr(opening, "_local", in_bucket)
