"""Whose signatures this machine trusts: a text file under the home that a person can read and edit.

A line is a name, a public key, and patterns of experiments, separated by blanks; `#` begins a comment.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from studio_cas.errors import ConfigError, ConflictError, LocalIOError, NotFoundError, UsageError
from studio_cas.formats.signature import key_text, parse_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOLDER: Final = "keys"
_FILE: Final = "trusted"
_NAME: Final = re.compile(r"[^\s#]{1,100}")
_HEAD: Final = "# name, public key, experiments (patterns; none: all). Kept by studio trust; lines may be edited.\n"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, whose it is, and for which experiments it is trusted: patterns, none for all."""

    name: str
    key: str
    experiments: tuple[str, ...] = ()

    def covers(self, experiment: str) -> bool:
        """Whether it is trusted for `experiment`."""
        return not self.experiments or any(fnmatchcase(experiment, pattern) for pattern in self.experiments)


def trust_file(home: Path) -> Path:
    """Where the keys that are trusted are listed."""
    return home / FOLDER / _FILE


def trusted_keys(home: Path) -> list[TrustedKey]:
    """All of them, in the order of the file. Raises ConfigError where it makes no sense, or others may write it."""
    path = trust_file(home)
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the list of trusted keys {path} cannot be read: {error}") from error
    if mode & 0o022:
        raise ConfigError(
            f"the list of trusted keys {path} can be changed by other users (mode {mode:04o}): look at what it has, "
            f"and run chmod 600 {path}"
        )
    rows = ((number, line.partition("#")[0].split()) for number, line in enumerate(lines, 1))
    return [_row(path, number, words) for number, words in rows if words]


def _row(path: Path, number: int, words: list[str]) -> TrustedKey:
    try:
        name, key, *experiments = words
        return TrustedKey(name, key_text(parse_key(key)), tuple(experiments))
    except ValueError as error:
        raise ConfigError(f"{path}, line {number}: a name and a public key are expected: {error}") from error


def check_signer_name(name: str) -> str:
    """`name`, where it may name somebody who signs. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name who signs: use up to 100 characters, and neither blanks nor #")
    return name


def add(home: Path, name: str, key: str, experiments: Sequence[str] = ()) -> TrustedKey:
    """Trust `key`, as that of `name`. Raises UsageError, and ConflictError where it is in the list already."""
    try:
        made = TrustedKey(check_signer_name(name), key_text(parse_key(key)), tuple(experiments))
    except ValueError as error:
        raise UsageError(str(error)) from error
    for pattern in experiments:
        if not re.fullmatch(r"[^\s#]+", pattern):
            raise UsageError(f"{pattern!r} matches no experiment: write a pattern as vision-*")
    known = trusted_keys(home)
    for one in known:
        if one.key == made.key:
            raise ConflictError(f"{one.key} is trusted already, as {one.name}'s: studio trust remove {one.name} first")
    _write(home, [*known, made])
    return made


def remove(home: Path, name: str, key: str | None = None) -> list[TrustedKey]:
    """Trust the keys of `name`, or only its `key`, no more; they are returned. Raises NotFoundError, UsageError."""
    try:
        wanted = None if key is None else key_text(parse_key(key))
    except ValueError as error:
        raise UsageError(str(error)) from error
    known = trusted_keys(home)
    gone = [one for one in known if one.name == name and wanted in {None, one.key}]
    if not gone:
        names = ", ".join(dict.fromkeys(one.name for one in known)) or "nobody"
        what = f"no key of {name}" if wanted is None else f"{name} with the key {wanted}"
        raise NotFoundError(f"the list of trusted keys has {what}; it has keys of: {names}")
    _write(home, [one for one in known if one not in gone])
    return gone


def _write(home: Path, trusted: Sequence[TrustedKey]) -> None:
    path = trust_file(home)
    beside = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
    lines = (" ".join((one.name, one.key, *one.experiments)) + "\n" for one in trusted)
    try:
        key_folder(home)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(_HEAD + "".join(lines))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise LocalIOError(f"{path} cannot be written: {error.strerror}") from error


def key_folder(home: Path) -> Path:
    """The folder of keys, made where it is missing, and closed to others then. Raises OSError."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
