"""What `--capture`, `--capture-once` and `--reuse` say: text to values, and nothing else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from studio_cas.backends.tilde import expanded
from studio_cas.errors import UsageError
from studio_cas.formats.keys import check_name

_TIME = (  # a version may be a time, whose colons are not the one before a new tag
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)
_REUSE = re.compile(
    rf"(?P<experiment>[^/@:]+)/(?P<tag>[^/@:]+)(?:@(?P<version>{_TIME}|[^@:]+))?(?::(?P<new_tag>[^:]*))?"
)


@dataclass(frozen=True, slots=True)
class CaptureSpec:
    """A path of this machine and the tag it is captured under. `once`: before the script starts, and never again."""

    tag: str
    path: Path
    once: bool


@dataclass(frozen=True, slots=True)
class ReuseSpec:
    """An artifact of another experiment, as `resolve` understands it, and the tag it has in this run."""

    artifact: str
    tag: str


def parse_capture(text: str, *, once: bool, folder: Path) -> CaptureSpec:
    """`PATH:TAG`; the tag is what follows the last colon, `~` is expanded, a relative path starts at `folder`.

    Raises UsageError.
    """
    option = "--capture-once" if once else "--capture"
    path, colon, tag = text.rpartition(":")
    if not colon or not tag or "/" in tag:
        raise UsageError(f"{option} {text!r} has no tag: write PATH:TAG, for example {option}={_example(text)}")
    if not path:
        raise UsageError(
            f"{option} {text!r} has no path: write PATH:TAG, for example {option}=~/{tag or 'data'}:{tag or 'data'}"
        )
    if "://" in path:
        raise UsageError(f"{option} {text!r}: only folders and files of this machine can be captured")
    check_name(tag, "an artifact")
    return CaptureSpec(tag, Path(os.path.abspath(folder / expanded(path))), once)  # noqa: PTH100  # keeps links


def _example(text: str) -> str:
    path = text.rstrip(":/") or "~/data"
    name = re.sub(r"[^A-Za-z0-9._+=-]", "", path.rsplit("/", 1)[-1]).lstrip("._+=-") or "data"
    return f"{path}:{name}"


def parse_reuse(text: str) -> ReuseSpec:
    """`EXP/TAG[@VERSION][:NEWTAG]`. Raises UsageError."""
    match = _REUSE.fullmatch(text)
    if match is None or match["new_tag"] == "":
        raise UsageError(
            f"--reuse {text!r}: write EXPERIMENT/TAG, EXPERIMENT/TAG:NEWTAG or EXPERIMENT/TAG@VERSION:NEWTAG"
        )
    experiment, tag = check_name(match["experiment"], "an experiment"), check_name(match["tag"], "an artifact")
    version = f"@{match['version']}" if match["version"] else ""
    return ReuseSpec(f"{experiment}/{tag}{version}", check_name(match["new_tag"] or tag, "an artifact"))
