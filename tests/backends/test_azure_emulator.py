"""Where Azurite can not be had, the tests that need it say why they are skipped."""

import pytest

from studio_cas.testing import azure_emulator as azure

program = azure.program.__wrapped__  # which remembers nothing


def test_without_npm_the_reason_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(azure.NotHereError, match=r"Node\.js and npm"):
        program()


def test_what_npm_says_is_told_and_it_is_not_asked_twice(monkeypatch, tmp_path):
    for name, does in (("npm", f"echo asked >> {tmp_path}/asked; echo no network >&2; exit 1"), ("node", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("STUDIO_TEST_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        with pytest.raises(azure.NotHereError, match="npm can not install azurite: no network"):
            program()
    assert (tmp_path / "asked").read_text() == "asked\n"
