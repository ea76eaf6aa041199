"""Fixtures for all tests."""

import pytest

from studio_cas.testing import gcs_emulator as emulator


@pytest.fixture(scope="session")
def gcs_emulator():
    """A Google Cloud Storage emulator for the whole session; make a bucket of your own with `new_bucket()`."""
    if emulator.program() is None:
        pytest.skip("fake-gcs-server is not installed")
    with emulator.gcs_emulator() as running:
        yield running
