"""`studio run`: which words are ours, which are the script's."""

from __future__ import annotations

import pytest

from studio_cas.cli.run_arguments import parse_arguments
from studio_cas.errors import UsageError


@pytest.mark.parametrize(
    "words",
    [
        ["--capture=~/w:w"],
        ["--capture", "~/w:w"],
        ["-c=~/w:w"],
        ["-c", "~/w:w"],
    ],
)
def test_every_spelling_of_capture(words):
    assert parse_arguments([*words, "train.py"]).all("capture") == ("~/w:w",)


@pytest.mark.parametrize(
    "words",
    [
        ["--capture-once=~/d:d"],
        ["--capture-once", "~/d:d"],
        ["-co=~/d:d"],
        ["-co", "~/d:d"],
    ],
)
def test_every_spelling_of_capture_once(words):
    assert parse_arguments([*words, "train.py"]).all("capture_once") == ("~/d:d",)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--reuse=e/t:n"], "reuse"),
        (["--reuse", "e/t:n"], "reuse"),
        (["-r=e/t:n"], "reuse"),
        (["-r", "e/t:n"], "reuse"),
    ],
)
def test_every_spelling_of_reuse(words, name):
    assert parse_arguments([*words, "train.py"]).all(name) == ("e/t:n",)


@pytest.mark.parametrize("words", [["--experiment=x"], ["--experiment", "x"], ["-e=x"], ["-e", "x"]])
def test_every_spelling_of_experiment(words):
    assert parse_arguments([*words, "train.py"]).value("experiment") == "x"


def test_captures_can_be_repeated_and_keep_their_order():
    words = ["-c", "a:a", "--capture-once=b:b", "-c=c:c", "-co", "d:d", "train.py"]
    arguments = parse_arguments(words)
    assert arguments.all("capture") == ("a:a", "c:c")
    assert arguments.all("capture_once") == ("b:b", "d:d")
    assert arguments.all("reuse") == ()


def test_everything_after_the_script_belongs_to_the_script():
    arguments = parse_arguments(["-e", "x", "train.py", "--capture", "y", "--help", "-e=z", "--", "-v", "other.py"])
    assert arguments.script == "train.py"
    assert arguments.rest == ("--capture", "y", "--help", "-e=z", "--", "-v", "other.py")
    assert arguments.flags == frozenset()
    assert arguments.command == ("train.py", "--capture", "y", "--help", "-e=z", "--", "-v", "other.py")


def test_any_command_follows_two_dashes():
    arguments = parse_arguments(["--join", "--", "bash", "-c", "echo -- $0"])
    assert arguments.script == ""
    assert arguments.command == ("bash", "-c", "echo -- $0")
    assert arguments.flags == {"join"}


def test_only_the_first_two_dashes_are_ours():
    assert parse_arguments(["--", "--", "x"]).command == ("--", "x")


def test_a_value_may_hold_equals_signs_colons_and_spaces():
    assert parse_arguments(["--capture=/a=b/c d:e:w", "t.py"]).all("capture") == ("/a=b/c d:e:w",)
    assert parse_arguments(["-c", "-odd:w", "t.py"]).all("capture") == ("-odd:w",)


def test_flags():
    words = ["--no-workspace", "--no-output", "--no-modeldir", "--no-tb", "--workspace-all", "--quiet", "-v", "t.py"]
    assert parse_arguments(words).flags == {
        "no_workspace", "no_output", "no_modeldir", "no_tb", "workspace_all", "quiet", "verbose",
    }  # fmt: skip


def test_help_needs_no_script():
    assert "help" in parse_arguments(["--help"]).flags
    assert parse_arguments([]).command == ()


def test_the_same_value_twice_is_no_contradiction():
    assert parse_arguments(["-e", "x", "--experiment=x", "t.py"]).value("experiment") == "x"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--captrue=~/w:w", "t.py"], "unknown option --captrue: did you mean --capture=?"),
        (["--force", "t.py"], "unknown option --force"),
        (["-x", "t.py"], "unknown option -x"),
        (["-c~/w:w", "t.py"], "did you mean -c=~/w:w?"),
        (["-co~/d:d", "t.py"], "did you mean -co=~/d:d?"),
        (["-experiment", "x", "t.py"], "did you mean --experiment?"),
        (["--capture"], "--capture needs a value"),
        (["--capture="], "--capture needs a value"),
        (["-c", "-e", "x", "t.py"], "-c needs a value"),
        (["-c", "--", "x"], "-c needs a value"),
        (["-e", "a", "-e", "b", "t.py"], "-e is given twice, as 'a' and 'b'"),
        (["--join=yes", "t.py"], "--join takes no value"),
        (["train.sh", "1"], "studio run -- train.sh 1"),
        (["python", "train.py", "-e", "x", "y"], "studio run -- python train.py -e x …"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(words, sentence):
    with pytest.raises(UsageError) as caught:
        parse_arguments(words)
    assert sentence in str(caught.value)
