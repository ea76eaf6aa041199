"""The commands in README.md and in the pages of docs for users are run, and print what the documents show.

In a block ```console, `$ ` begins a command, `> ` continues it, and what follows is its output, both streams. Amounts,
ages, ids and names of hosts may differ. With STUDIO_REWRITE_DOCUMENTS=1 the outputs are written anew.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ .*\n(?:>.*\n)*", re.MULTILINE)
VARIABLE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b"), "UUID"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "ID"),
    (re.compile(r"\d+(\.\d+)? (B|KiB|MiB|GiB)\b"), "SIZE"),
    (re.compile(r"just now|\b\d+ (second|minute)s? ago"), "AGE"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\b(\d+[dhm])?\d+(\.\d+)?[hms]\b"), "TOOK"),
    (re.compile(r"process \d+"), "process N"),
    (re.compile(r"Linux-\S+"), "PLATFORM"),
    (re.compile(r"\d+\.\d+\.\d+ (?=\(/home/ann)"), "PYTHON "),
    (re.compile(r"\bpython3?(\.\d+)?\b"), "python"),
    (re.compile(r"\d+ packages"), "N packages"),
    (re.compile(r"[\d.]+ processors, .*"), "MACHINE"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\boutput[ @]\d+"), "output N"),  # a short run may end before its first capture
    (re.compile(r"\b\d+ (?=SIZE)"), "N "),
)


class Reader:
    """Somebody who types what a document says: ann, at her laptop, in the folder `project` of her home."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.home = folder / "ann"
        self.project = self.home / "project"
        shutil.copytree(ROOT / "examples", self.project)
        programs = str(Path(sys.executable).parent)
        self.environment = {
            "HOME": str(self.home),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "STUDIOML_USER": "ann",
            "STORAGE_EMULATOR_HOST": endpoint,
            "PYTHONDONTWRITEBYTECODE": "1",
            **{
                name: value
                for name, value in os.environ.items()
                if name.startswith(("COVERAGE", "COV_", "PYTHONPYCACHE"))
            },
        }

    def types(self, command: str) -> str:
        """What she sees."""
        finished = subprocess.run(
            ["bash", "-c", command],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert finished.returncode == 0, (command, finished.stdout)
        text = finished.stdout.replace(str(Path(sys.executable).parent), "/home/ann/.venv/bin")
        return text.replace(str(self.home), "/home/ann").replace(socket.gethostname(), "laptop")


def play(block: str, reader: Reader) -> str:
    """The block with the output that its commands have now."""
    played = ""
    for typed in COMMAND.findall(block):
        command = typed.removeprefix("$ ").replace("\n> ", "\n").replace("\n>\n", "\n\n")
        played += typed + reader.types(command)
    return played


def alike(text: str) -> str:
    for pattern, name in VARIABLE:
        text = pattern.sub(name, text)
    return text


PLAYED = ("README.md", *(f"docs/{name}.md" for name in ("buckets", "moving", "runs", "security", "tutorial")))


@pytest.mark.parametrize("name", PLAYED)
def test_the_commands_print_what_the_document_shows(name, tmp_path, gcs_emulator, request):
    reader = Reader(tmp_path, gcs_emulator.endpoint)
    if name == "docs/buckets.md":
        reader.environment["S3_ENDPOINT"] = request.getfixturevalue("s3_server").endpoint
    document = ROOT / name
    text = document.read_text()
    assert BLOCK.search(text)
    played = BLOCK.sub(lambda match: f"```console\n{play(match[1], reader)}```", text)
    if os.environ.get("STUDIO_REWRITE_DOCUMENTS"):
        document.write_text(played)
    assert alike(played) == alike(document.read_text())
