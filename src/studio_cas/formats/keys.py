"""The keys of every object in a store, and the names that may stand in them."""

from __future__ import annotations

import re

from studio_cas.errors import CorruptError, UsageError
from studio_cas.ids import PackId

FORMAT = "format.json"
VERSIONS = "versions/"
EXPERIMENTS = "experiments/"
HOOKS = "hooks/"
PINS = "pins/"
GC = "gc/"
PACKS = "packs/"
TREES = "trees/"
NUMBER_DIGITS = 16
NUMBER_LIMIT: int = 10**NUMBER_DIGITS - 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,127}")
_LIST = re.compile(rf"{GC}[0-9]{{{NUMBER_DIGITS}}}")
_VERSION = re.compile(rf"{VERSIONS}[^/]+/[^/]+/([0-9]{{{NUMBER_DIGITS}}})")


def is_name(name: str) -> bool:
    """Whether it may name an experiment or a tag."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str, what: str) -> str:
    """`name`, where it may name an experiment or a tag (`what` says which). Raises UsageError."""
    if not is_name(name):
        message = (
            f"{name!r} cannot name {what}: use 1 to 128 letters, digits and ._+=-, and begin with a letter or digit"
        )
        raise UsageError(message)
    return name


def pack(pack_id: PackId, *, tree: bool = False) -> str:
    """The key of a data pack, or of a tree pack."""
    text = pack_id.hex()
    return f"{TREES if tree else PACKS}{text[:2]}/{text}"


def pack_id_of(key: str) -> PackId:
    """The pack id in `key`. Raises CorruptError."""
    try:
        return PackId.parse(key.rpartition("/")[2])
    except ValueError as error:
        raise CorruptError(f"the store has an object {key}, which is no pack: move it away") from error


def versions(experiment: str, tag: str) -> str:
    """The prefix of the version records of a tag."""
    return f"{VERSIONS}{experiment}/{tag}/"


def version(experiment: str, tag: str, number: int) -> str:
    """The key of version `number`: inverted, so that the newest sorts first. Raises CorruptError where none is left."""
    if number > NUMBER_LIMIT:
        raise CorruptError(f"{experiment}/{tag} has a version {NUMBER_LIMIT}, which nobody made: move it away")
    return f"{versions(experiment, tag)}{NUMBER_LIMIT - number:0{NUMBER_DIGITS}}"


def version_number(key: str) -> int:
    """The version number in `key`. Raises CorruptError, also for what lies deeper: it would pass for an older version.

    Such a one sorts where whoever made it wants, before the newest.
    """
    found = _VERSION.fullmatch(key)
    if found is None:
        raise CorruptError(f"the store has an object {key}, which is no version record: move it away")
    return NUMBER_LIMIT - int(found[1])


def condemned_list(number: int) -> str:
    """The key of condemned list `number`, which counts from 1: inverted, so that the newest sorts first.

    Raises CorruptError where none is left.
    """
    if number > NUMBER_LIMIT:
        raise CorruptError(f"the store has an object {GC}{0:0{NUMBER_DIGITS}}, which nobody made: move it away")
    return f"{GC}{NUMBER_LIMIT - number:0{NUMBER_DIGITS}}"


def is_condemned_list(key: str) -> bool:
    """Whether `key` can be that of a condemned list."""
    return _LIST.fullmatch(key) is not None


def list_number(key: str) -> int:
    """The number of the condemned list under `key`."""
    return NUMBER_LIMIT - int(key.removeprefix(GC))
