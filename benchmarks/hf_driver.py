"""Uploads or downloads a folder with hf_xet and its own local store; runs in an environment that has hf_xet.

hf_xet knows files, not folders: the list of paths, hashes and sizes is kept in a JSON file beside the store.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import hf_xet


def capture(repo: Path, source: Path) -> None:
    """Upload every file of the folder."""
    paths = sorted(str(path) for path in source.rglob("*") if path.is_file())
    found = hf_xet.upload_files(paths, f"local://{repo}", None, None, None, "model")
    rows = [
        (str(Path(path).relative_to(source)), one.hash, one.file_size) for path, one in zip(paths, found, strict=True)
    ]
    (repo / "files.json").write_text(json.dumps(rows))


def pull(repo: Path, target: Path) -> None:
    """Download every file of the list."""
    rows = json.loads((repo / "files.json").read_text())
    wanted = [hf_xet.PyXetDownloadInfo(str(target / path), name, size) for path, name, size in rows]
    hf_xet.download_files(wanted, f"local://{repo}", None, None, None)


if __name__ == "__main__":
    {"capture": capture, "pull": pull}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
