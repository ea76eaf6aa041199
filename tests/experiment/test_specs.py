"""What --capture, --capture-once and --reuse say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio_cas.errors import UsageError
from studio_cas.experiment.specs import parse_capture, parse_reuse

HERE = Path("/here")
NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._+=-]{0,20}\Z")


def capture(text, *, once=False):
    return parse_capture(text, once=once, folder=HERE)


@pytest.mark.parametrize(
    ("text", "path", "tag"),
    [
        ("/data:d", "/data", "d"),
        ("data:d", "/here/data", "d"),
        ("./data/../other:d", "/here/other", "d"),
        ("/a:b:c", "/a:b", "c"),
        ("/with space:w", "/with space", "w"),
        (".:all", "/here", "all"),
        ("/data/:d", "/data", "d"),
    ],
)
def test_the_tag_follows_the_last_colon(text, path, tag):
    spec = capture(text)
    assert (str(spec.path), spec.tag, spec.once) == (path, tag, False)


def test_a_tilde_is_expanded_by_us(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert capture("~/weights:w", once=True).path == Path("/home/anna/weights")
    assert capture("~:w").path == Path("/home/anna")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("~/weights", "has no tag: write PATH:TAG, for example --capture=~/weights:weights"),
        ("/a:b/c", "has no tag: write PATH:TAG, for example --capture=/a:b/c:c"),
        (":w", "has no path"),
        ("/w:", "has no tag: write PATH:TAG, for example --capture=/w:w"),
        ("~no-such-user/w:w", "there is no user no-such-user"),
        ("/w:a b", "cannot name an artifact"),
        ("gs://bucket/data:d", "only folders and files of this machine"),
    ],
)
def test_a_mistake_in_a_capture_says_what_to_write(text, sentence):
    with pytest.raises(UsageError) as caught:
        capture(text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "artifact", "tag"),
    [
        ("exp/weights", "exp/weights", "weights"),
        ("exp/weights:w", "exp/weights", "w"),
        ("exp/weights@7", "exp/weights@7", "weights"),
        ("exp/weights@-1:w", "exp/weights@-1", "w"),
        ("exp/weights@2026-11-22", "exp/weights@2026-11-22", "weights"),
        ("exp/weights@2026-11-22:w", "exp/weights@2026-11-22", "w"),
        ("exp/weights@2026-11-22T10:00", "exp/weights@2026-11-22T10:00", "weights"),
        ("exp/weights@2026-11-22T10:00:w", "exp/weights@2026-11-22T10:00", "w"),
        ("exp/weights@2026-11-22T10:00:30+01:00:w", "exp/weights@2026-11-22T10:00:30+01:00", "w"),
        ("exp/weights@0a1b2c:w", "exp/weights@0a1b2c", "w"),
    ],
)
def test_reuse(text, artifact, tag):
    spec = parse_reuse(text)
    assert (spec.artifact, spec.tag) == (artifact, tag)


@pytest.mark.parametrize("text", ["exp", "exp/", "/w", "exp/w:", "exp/w@", "exp/w/path", "e x/w", "exp/w:a:b", ""])
def test_a_mistake_in_a_reuse_is_refused(text):
    with pytest.raises(UsageError):
        parse_reuse(text)


@given(NAMES, NAMES, st.integers(1, 10**6), NAMES)
def test_every_well_formed_reuse_is_understood(experiment, tag, number, new_tag):
    spec = parse_reuse(f"{experiment}/{tag}@{number}:{new_tag}")
    assert (spec.artifact, spec.tag) == (f"{experiment}/{tag}@{number}", new_tag)


@given(st.text(st.characters(exclude_characters="\0"), min_size=1).filter(lambda text: "://" not in text), NAMES)
def test_any_path_can_be_captured(path, tag):
    spec = capture(f"/{path}:{tag}")
    assert spec.tag == tag
    assert spec.path.is_absolute()
