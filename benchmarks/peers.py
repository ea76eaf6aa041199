"""The peers: restic, borg, desync, casync, hf_xet, rclone, rsync. Each with its defaults, in its own repository.

A peer that is not installed is left out and named. They are looked for in the folder that STUDIO_BENCHMARK_PEERS names
(install_peers.sh fills it), then on the PATH.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import HERE
from measure import Run, size_of
from tools import Tool

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Bench


class Restic(Tool):
    """Encrypts always, compresses by default (format 2)."""

    name = program = "restic"
    version_arguments = ("version",)
    note = "encrypts; derives its key at each start"

    def init(self, repo: Path) -> None:
        """Make the repository."""
        self.run("restic", "-r", repo, "init")

    def capture(self, repo: Path, source: Path) -> Run:
        """Back the folder up."""
        return self.run("restic", "-r", repo, "backup", "--quiet", source)

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Restore the latest snapshot; it comes back under its whole path."""
        del source
        return self.run("restic", "-r", repo, "restore", "--quiet", "latest", "--target", target)

    def pulled(self, source: Path, target: Path) -> Path:
        """Return the folder under the target."""
        return target / source.relative_to("/")

    def start(self, repo: Path) -> float:
        """Return the seconds that opening the repository takes, key derivation included."""
        return self.run("restic", "-r", repo, "cat", "config").seconds


class Borg(Tool):
    """Without encryption, lz4: as `borg init -e none` and `borg create` do by themselves."""

    name = program = "borg"
    note = "-e none, lz4"

    def init(self, repo: Path) -> None:
        """Make the repository."""
        self.run("borg", "init", "-e", "none", repo)

    def capture(self, repo: Path, source: Path) -> Run:
        """Create one more archive."""
        return self.run("borg", "create", f"{repo}::{{now:%s.%f}}", ".", cwd=source)

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Extract the last archive."""
        del source
        archive = self.run("borg", "list", "--short", "--last", "1", repo).output.strip()
        target.mkdir()
        return self.run("borg", "extract", f"{repo}::{archive}", cwd=target)


class Desync(Tool):
    """`desync tar -i`: an archive stream cut into a store of zstd chunks."""

    name = program = "desync"
    version_arguments = ("--version",)

    def init(self, repo: Path) -> None:
        """Make the store's folder."""
        (repo / "store").mkdir(parents=True)

    def capture(self, repo: Path, source: Path) -> Run:
        """Cut the folder's archive into the store."""
        return self.run("desync", "tar", "-i", "-s", repo / "store", repo / "index.caidx", source)

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Unpack the archive from the store."""
        del source
        target.mkdir()
        return self.run("desync", "untar", "-i", "-s", repo / "store", repo / "index.caidx", target)


class Casync(Tool):
    """`casync make`: the program whose format desync speaks, on one thread."""

    name = program = "casync"

    def init(self, repo: Path) -> None:
        """Make the repository's folder."""
        repo.mkdir(parents=True)

    def capture(self, repo: Path, source: Path) -> Run:
        """Cut the folder's archive into the store."""
        return self.run("casync", "make", f"--store={repo}/store.castr", repo / "index.caidx", source)

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Unpack the archive from the store."""
        del source
        return self.run("casync", "extract", f"--store={repo}/store.castr", repo / "index.caidx", target)


class HfXet(Tool):
    """The Hugging Face hub's store, in a folder of its own (`local://`)."""

    name = "hf_xet"
    program = "hf-xet-python"
    version_arguments = ("-c", "import importlib.metadata as m; print(m.version('hf-xet'))")

    def init(self, repo: Path) -> None:
        """Make the repository's folder."""
        repo.mkdir(parents=True)

    def capture(self, repo: Path, source: Path) -> Run:
        """Upload all files of the folder."""
        return self.run(self.program, HERE / "hf_driver.py", "capture", repo, source)

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Download all files of the list."""
        del source
        return self.run(self.program, HERE / "hf_driver.py", "pull", repo, target)

    def stored(self, repo: Path) -> tuple[int, int]:
        """Count data and shards, without the stand-in for the server's database."""
        found = [size_of(repo / "xet/xorbs" / part) for part in ("xorbs", "shards")]
        return sum(size for size, _ in found), sum(count for _, count in found)


class Rclone(Tool):
    """`rclone copy`: no chunks and no dedup; what plain files cost."""

    name = program = "rclone"
    version_arguments = ("version",)
    note = "plain files, no dedup"

    def init(self, repo: Path) -> None:
        """Make the repository's folder."""
        repo.mkdir(parents=True)

    def capture(self, repo: Path, source: Path) -> Run:
        """Copy what changed there."""
        return self.run("rclone", "copy", "--quiet", source, repo)

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Copy everything back."""
        del source
        return self.run("rclone", "copy", "--quiet", repo, target)


class Rsync(Tool):
    """`rsync -a`: no chunks and no dedup; what plain files cost."""

    name = program = "rsync"
    note = "plain files, no dedup"

    def init(self, repo: Path) -> None:
        """Make the repository's folder."""
        repo.mkdir(parents=True)

    def capture(self, repo: Path, source: Path) -> Run:
        """Copy what changed there."""
        return self.run("rsync", "-a", f"{source}/", repo)

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Copy everything back."""
        del source
        return self.run("rsync", "-a", f"{repo}/", target)


PLAIN = ("rclone", "rsync")
"""Peers without versions: a second capture overwrites the first."""
PEERS: list[type[Tool]] = [Restic, Borg, Desync, Casync, HfXet, Rclone, Rsync]


def chosen_peers(bench: Bench, without: tuple[str, ...] = ()) -> list[Tool]:
    """Return the peers that were asked for and are installed; the report names the others."""
    asked = bench.args.peers.split(",")
    tools: list[Tool] = []
    for kind in PEERS:
        if asked == ["none"] or (kind.name not in asked and (asked != ["all"] or kind.name in without)):
            continue
        tool = kind(bench)
        version = tool.version()
        if version:
            bench.report.versions[tool.name] = version
            tools.append(tool)
        else:
            bench.report.note(f"{tool.name} is not installed here")
    return tools
