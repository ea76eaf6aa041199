"""In what environment a script runs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from studio_cas.experiment.environment import (
    choose_python,
    gather,
    installed_packages,
    read_git,
    without_secret,
)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(variable, "someone")

    def git(*words):
        return subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "trunk")
    (tmp_path / "file").write_text("one\n")
    git("add", ".")
    git("commit", "-qm", "first")
    return tmp_path, git


def test_a_clean_repository(repository):
    folder, git = repository
    found = read_git(folder)
    assert (found.commit, found.branch, found.dirty, found.diff) == (git("rev-parse", "HEAD"), "trunk", False, "")


def test_uncommitted_changes_are_recorded_and_the_index_is_not_touched(repository):
    folder, _ = repository
    (folder / "file").write_text("two\n")
    before = (folder / ".git/index").stat().st_mtime_ns
    found = read_git(folder)
    assert found.dirty
    assert "+two" in found.diff
    assert not found.diff_cut
    assert (folder / ".git/index").stat().st_mtime_ns == before


def test_a_large_change_is_cut(repository):
    folder, _ = repository
    (folder / "file").write_text("line\n" * 100_000)
    found = read_git(folder)
    assert found.diff_cut
    assert len(found.diff) == 1 << 18


def test_no_repository_no_commit_no_git(tmp_path, monkeypatch):
    assert read_git(tmp_path) is None
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert read_git(tmp_path) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert read_git(tmp_path) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@host/repo.git", "https://host/repo.git"),
        ("https://token@host:8080/repo.git", "https://host:8080/repo.git"),
        ("git@host:me/repo.git", "git@host:me/repo.git"),
        ("/srv/repo", "/srv/repo"),
        ("", ""),
    ],
)
def test_no_secret_of_a_remote_is_kept(url, shown):
    assert without_secret(url) == shown


def test_packages_are_those_that_an_import_finds():
    packages = installed_packages()
    assert packages["pytest"] == importlib.metadata.version("pytest")
    assert packages["PyYAML"] == importlib.metadata.version("pyyaml")
    assert list(packages) == sorted(packages, key=str.lower)


def test_the_environment_of_this_python(tmp_path):
    found = gather(sys.executable, tmp_path, 42, 7.0)
    assert (found.pid, found.time, found.python) == (42, 7.0, sys.executable)
    assert found.python_version == ".".join(map(str, sys.version_info[:3]))
    assert found.packages["pytest"]


def test_another_python_is_asked(tmp_path):
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    found = gather(str(other), tmp_path, 1, 0.0)
    assert found.python_version == ".".join(map(str, sys.version_info[:3]))
    assert gather("/no/such/python", tmp_path, 1, 0.0).packages == {}


@pytest.fixture
def active(tmp_path):
    python = tmp_path / "active/bin/python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    return python


@pytest.mark.parametrize(
    ("prefix", "base", "called_as", "variable", "chosen"),
    [
        ("/own", "/usr", "/own/bin/studio", None, "ours"),
        ("/own", "/usr", "/own/bin/studio", "VIRTUAL_ENV", "ours"),  # its path was typed: that environment is meant
        (
            "/own",
            "/usr",
            "/home/me/.local/bin/studio",
            "VIRTUAL_ENV",
            "active",
        ),  # a tool linked from its own environment
        ("/own", "/usr", "/home/me/.local/bin/studio", "CONDA_PREFIX", "active"),
        ("/own", "/usr", "/home/me/.local/bin/studio", None, "ours"),
        ("/usr", "/usr", "/usr/bin/studio", "VIRTUAL_ENV", "active"),  # installed in the system
        ("/usr", "/usr", "/usr/lib/studio_cas/cli/main.py", "VIRTUAL_ENV", "ours"),  # python -m
    ],
)
def test_scripts_run_with_the_python_of_the_active_environment(active, prefix, base, called_as, variable, chosen):
    environ = {variable: str(active.parent.parent)} if variable else {}
    found = choose_python(f"{prefix}/bin/python3", prefix, base, called_as, environ)
    assert found == (str(active) if chosen == "active" else f"{prefix}/bin/python3")


def test_an_active_environment_without_python_is_passed_over(tmp_path):
    environ = {"VIRTUAL_ENV": str(tmp_path)}
    assert choose_python("/usr/bin/python3", "/usr", "/usr", "/usr/bin/studio", environ) == "/usr/bin/python3"
