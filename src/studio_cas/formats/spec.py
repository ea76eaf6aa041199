"""`exp/tag[@version][/path]`: what a person types to name an artifact, a version of it, or a part."""

from __future__ import annotations

import os
from dataclasses import dataclass

from studio_cas.errors import UsageError
from studio_cas.formats.keys import check_name


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed name. `version` is the text after `@`, or None for the latest; `path` is b"" for the whole artifact."""

    experiment: str
    tag: str
    version: str | None = None
    path: bytes = b""

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version else ""
        path = "/" + os.fsdecode(self.path) if self.path else ""
        return f"{self.experiment}/{self.tag}{version}{path}"


def parse_spec(text: str) -> Spec:
    """The spec that `text` spells. Raises UsageError."""
    experiment, slash, rest = text.partition("/")
    artifact, _, path = rest.partition("/")
    tag, at, version = artifact.partition("@")
    if not slash or not tag or (at and not version):
        message = (
            f"{text!r} does not name an artifact: write EXPERIMENT/TAG, EXPERIMENT/TAG@VERSION or EXPERIMENT/TAG/PATH"
        )
        raise UsageError(message)
    return Spec(
        check_name(experiment, "an experiment"),
        check_name(tag, "an artifact"),
        version or None,
        os.fsencode(path.strip("/")),
    )
