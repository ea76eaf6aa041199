"""What the machine gives to a run."""

from __future__ import annotations

import os

import pytest

from studio_cas.experiment import resources
from studio_cas.formats.experiment import Gpu


@pytest.fixture
def program(tmp_path, monkeypatch):
    """An nvidia-smi of our own, alone on the PATH."""

    def program(text):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def test_processors_and_memory_of_this_machine(tmp_path):
    found = resources.measure_resources(tmp_path)
    assert found.cpus == len(os.sched_getaffinity(0))
    assert found.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_limits_of_a_container_count(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1048576\n")
    found = resources.measure_resources(tmp_path)
    assert (found.cpus, found.memory) == (0.5, 1 << 20)


def test_a_container_without_limits(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert resources.measure_resources(tmp_path).memory == resources.measure_resources(tmp_path / "none").memory


def test_gpus_are_those_that_nvidia_smi_names(program):
    program("echo 'NVIDIA A100-SXM4-80GB, 81920, 550.54.15'; echo 'Tesla T4, 15360, 550.54.15'")
    assert resources.find_gpus() == (
        Gpu("NVIDIA A100-SXM4-80GB", 81920 << 20, "550.54.15"),
        Gpu("Tesla T4", 15360 << 20, "550.54.15"),
    )


@pytest.mark.parametrize("text", ["exit 9", "echo 'No devices were found'", "echo ', 12, 3'; echo", "kill -9 $$"])
def test_an_nvidia_smi_that_finds_nothing_is_no_error(program, text):
    program(text)
    assert resources.find_gpus() == ()


def test_no_nvidia_smi_no_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert resources.find_gpus() == ()


def test_an_nvidia_smi_that_hangs_is_given_up(program, monkeypatch):
    monkeypatch.setattr(resources, "GPU_TIMEOUT", 0.1)
    program("exec /bin/sleep 60")
    assert resources.find_gpus() == ()
