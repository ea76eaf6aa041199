"""Whatever happens inside, the process ends with one sentence and a documented code."""

from __future__ import annotations

import errno

import pytest
import typer

from studio_cas.cli import boundary
from studio_cas.cli.commands import new_app
from studio_cas.errors import (
    ConflictError,
    CorruptError,
    NoSpaceError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    StoreUnavailableError,
    UsageError,
)


def app_that(action) -> typer.Typer:
    app = new_app()

    @app.command()
    def command() -> int | None:
        return action()

    return app


def raiser(error: BaseException):
    def action() -> None:
        raise error

    return app_that(action)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageError, 2),
        (StoreUnavailableError, 3),
        (PermissionDeniedError, 3),
        (NotFoundError, 4),
        (CorruptError, 5),
        (RefusedError, 5),
        (ConflictError, 6),
        (NoSpaceError, 7),
    ],
)
def test_each_error_has_its_exit_code_and_one_sentence(capsys, kind, code):
    assert boundary.guard(raiser(kind("the thing\x1b[2J is wrong: do this")), []) == code
    assert capsys.readouterr().err == "studio: the thing\\x1b[2J is wrong: do this\n"


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, 9), (errno.EIO, 9), (errno.ENOSPC, 7), (errno.EDQUOT, 7)])
def test_an_error_of_the_system_names_the_file(capsys, number, code):
    assert boundary.guard(raiser(OSError(number, "it failed", "some/file")), []) == code
    assert capsys.readouterr().err.startswith("studio: some/file: it failed")


def test_a_command_says_its_exit_code():
    assert boundary.guard(app_that(lambda: 8), []) == 8
    assert boundary.guard(app_that(lambda: None), []) == 0


def test_an_interrupt_ends_with_130(capsys):
    assert boundary.guard(raiser(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "studio: interrupted\n"


def test_a_fault_leaves_its_traceback_in_a_file(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIOML_HOME", str(tmp_path))
    assert boundary.guard(raiser(ZeroDivisionError("oh")), []) == 70
    (log,) = (tmp_path / "logs").iterdir()
    assert "ZeroDivisionError: oh" in log.read_text()
    said = capsys.readouterr().err
    assert str(log) in said
    assert said.count("\n") == 1


def test_a_fault_shows_its_traceback_where_it_is_asked_for(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIOML_HOME", str(tmp_path))
    monkeypatch.setenv("STUDIO_TRACEBACK", "1")
    assert boundary.guard(raiser(ZeroDivisionError("oh")), []) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_without_a_writable_home_leaves_its_traceback_elsewhere(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("STUDIOML_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert boundary.guard(raiser(ZeroDivisionError("oh")), []) == 70
    assert str(tmp_path / "crash-") in capsys.readouterr().err
