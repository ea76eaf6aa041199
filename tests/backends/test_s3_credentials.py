"""A file of AWS keys is read as Amazon's tools read theirs; one that is none is named and not quoted."""

import pytest

from studio_cas.backends.s3_credentials import Keys, load
from studio_cas.errors import StoreUnavailableError

PAIR = "aws_access_key_id = {0}\naws_secret_access_key = {0}-SECRET\n"


def pair(name):
    return Keys(name, f"{name}-SECRET")


@pytest.mark.parametrize(
    ("text", "profile", "found"),
    [
        (PAIR.format("A"), None, pair("A")),
        ("[default]\n" + PAIR.format("A"), None, pair("A")),
        ("# mine\n[default]\n" + PAIR.format("A") + "\n[work]\n" + PAIR.format("B"), None, pair("A")),
        ("[default]\n" + PAIR.format("A") + "[work]\n" + PAIR.format("B"), "work", pair("B")),
        ("[work]\n" + PAIR.format("B"), None, pair("B")),
        ("[work]\n" + PAIR.format("B"), "other", pair("B")),
        ("\ufeff" + PAIR.format("A"), None, pair("A")),
        (PAIR.format("A") + "aws_session_token = T%T\n", None, Keys("A", "A-SECRET", "T%T")),
    ],
)
def test_the_keys_of_the_profile_are_found(keys, text, profile, found):
    assert load(keys(text), {"AWS_PROFILE": profile} if profile else {}) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a file of AWS keys"),
        ("SECRET", "not a file of AWS keys"),
        ('{"key": "SECRET"}', "not a file of AWS keys"),
        ("aws_access_key_id = SECRET\n", "not a file of AWS keys"),
        ("[a]\n" + PAIR.format("A") + "[b]\n" + PAIR.format("B"), "no profile default: set AWS_PROFILE"),
        ("[[broken\nSECRET\n", "not a file of AWS keys"),
    ],
)
def test_a_file_that_has_none_is_named_and_not_quoted(keys, text, said):
    file = keys(text)
    with pytest.raises(StoreUnavailableError, match=said) as caught:
        load(file, {})
    assert str(file) in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in repr(caught.value.__cause__)


def test_bytes_that_are_no_text_are_no_keys(tmp_path):
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreUnavailableError, match="not a file of AWS keys"):
        load(tmp_path / "keys", {})


def test_a_file_that_can_not_be_read_says_why(tmp_path):
    with pytest.raises(StoreUnavailableError, match="No such file"):
        load(tmp_path / "none", {})


def test_keys_are_not_shown():
    assert "SECRET" not in repr(Keys("A", "SECRET", "SECRET"))
