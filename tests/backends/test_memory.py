"""The memory store keeps the contract."""

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.testing.backend_contract import BackendContract


class TestMemory(BackendContract):
    @pytest.fixture
    def backend(self):
        return MemoryBackend()


def test_times_come_from_the_clock():
    store = MemoryBackend(clock=lambda: 12.5)
    store.create("a", [])
    assert store.stat("a").created == 12.5
