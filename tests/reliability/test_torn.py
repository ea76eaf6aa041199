"""Some seconds of the soak (soak_torn.py): whoever writes beside a daemon, no version has a torn file."""

from tests.reliability.soak_torn import soak


def test_no_version_has_a_torn_file(tmp_path):
    versions, files = soak(tmp_path, 12)
    assert versions > 3
    assert files > 30
