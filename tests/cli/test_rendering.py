"""Sizes, ages and names, as they are printed."""

from __future__ import annotations

import json

import pytest

from studio_cas.cli import rendering


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1288490189, "1.2 GiB"),
        (5 * 1024**5, "5.0 PiB"),
        (5000 * 1024**5, "5000.0 PiB"),
    ],
)
def test_sizes_are_binary_with_one_digit(count, text):
    assert rendering.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0.4, "just now"),
        (1, "1 second ago"),
        (59.9, "59 seconds ago"),
        (180, "3 minutes ago"),
        (3600, "1 hour ago"),
        (86400 * 2, "2 days ago"),
        (86400 * 400, "1 year ago"),
    ],
)
def test_ages_have_one_unit(seconds, text):
    assert rendering.age(seconds) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain.txt", "plain.txt"),
        ("grüße 文.txt", "grüße 文.txt"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"two\nlines", "two\\nlines"),
        (b"bad\xff", "bad\\xff"),
        ("c1\x9b31m", "c1\\x9b31m"),
        ("rtl\u202egpj", "rtl\\u202egpj"),
        ("nb\xa0sp", "nb\xa0sp"),
        ("line\u2028sep", "line\\u2028sep"),
    ],
)
def test_a_name_cannot_steer_a_terminal(name, text):
    assert rendering.printable(name) == text


def test_a_table_is_aligned(capsys):
    rendering.print_table(("NAME", "SIZE"), [("a", "1 B"), ("long name", "1023 B")], right=(1,))
    assert capsys.readouterr().out == "NAME         SIZE\na             1 B\nlong name  1023 B\n"


@pytest.mark.parametrize("values", [[], [1], [{"a": "\udcff"}, {"b": 2}]])
def test_a_json_list_parses(capsys, values):
    rendering.print_json_list(iter(values))
    assert json.loads(capsys.readouterr().out) == values
