"""What the documents point at is there, and they stay short enough to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")], key=str)
LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)\s]*)?\)")
MODULE = re.compile(r"`((?:[a-z_]+/)+[a-z_*]*(?:\.py)?)`")
PLACES = (ROOT, ROOT / "src", ROOT / "src" / "studio_cas")


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document):
    targets = [match[1] for match in LINK.finditer(document.read_text())]
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_modules_that_are_named_exist(document):
    names = {match[1] for match in MODULE.finditer(document.read_text()) if match[1].endswith(".py")}
    assert [name for name in sorted(names) if not any(list(place.glob(name)) for place in PLACES)] == []


def test_the_architecture_fits_250_lines_and_a_decision_60():
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= 250
    decisions = sorted(ROOT.glob("docs/adr/[0-9]*.md"))
    assert [path.name for path in decisions if len(path.read_text().splitlines()) > 60] == []
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    assert [path.name for path in decisions if f"({path.name})" not in listed] == []
