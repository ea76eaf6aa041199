"""A store in a folder, with its own home."""

import pytest

from studio_cas.store.store import open_store


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path, home):
    with open_store(tmp_path / "store", home=home) as opened:
        yield opened


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path):
    """A folder that holds destinations and nothing else."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
