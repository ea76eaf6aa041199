"""A store in memory, and one in a folder, each with its own home."""

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.store.store import open_store


@pytest.fixture(params=["memory", "local"])
def store(request, tmp_path):
    where = MemoryBackend() if request.param == "memory" else tmp_path / "store"
    with open_store(where, home=tmp_path / "home") as opened:
        yield opened
