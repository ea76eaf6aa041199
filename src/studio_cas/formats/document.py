"""JSON documents as they come from a store: parsed within a limit, and each value of the type that is expected.

The functions that check a value return it, or raise TypeError or ValueError with a few words; `reading` turns those,
and whatever else can go wrong with a document that lies, into one CorruptError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from studio_cas.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from studio_cas.ids import Buffer

_Record = TypeVar("_Record")

LIMIT = 64 * 1024 * 1024  # the paths that a version record may name take up to 48 MiB
NUMBER_LIMIT = 2**63
LATEST_TIME = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raises CorruptError, which begins with `what`, for every way in which a document can make no sense."""
    try:
        yield
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        told = f"{error.args[0]!r:.40} is missing" if isinstance(error, KeyError) else f"{error!s:.100}"
        raise CorruptError(f"{what}: {told}") from error


def parse(data: Buffer, limit: int = LIMIT) -> dict[str, Any]:
    """The object that `data` spells in JSON. Raises ValueError, TypeError, RecursionError."""
    if len(data) > limit:
        raise ValueError(f"{len(data):,} bytes are beyond any limit")
    document = json.loads(bytes(data))
    if not isinstance(document, dict):
        raise TypeError(f"{_kind(document)} where an object is expected")
    return document


def mapping(value: object) -> dict[str, Any]:
    """An object: keys are text."""
    if not isinstance(value, dict):
        raise TypeError(f"{_kind(value)} where an object is expected")
    return value


def listing(value: object) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise TypeError(f"{_kind(value)} where a list is expected")
    return value


def text(value: object) -> str:
    """Text."""
    if not isinstance(value, str):
        raise TypeError(f"{_kind(value)} where text is expected")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(map(text, listing(value)))


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise TypeError(f"{_kind(value)} where true or false is expected")
    return value


def integer(value: object) -> int:
    """A whole number that fits into 64 bits."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{_kind(value)} where a whole number is expected")
    if not -NUMBER_LIMIT <= value < NUMBER_LIMIT:
        raise ValueError("a number is beyond any limit")
    return value


def count(value: object) -> int:
    """A whole number that is not negative."""
    if integer(value) < 0:
        raise ValueError("a number is negative")
    return integer(value)


def number(value: object) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{_kind(value)} where a number is expected")
    if not -NUMBER_LIMIT <= value <= NUMBER_LIMIT:  # false for what is no number
        raise ValueError("a number is beyond any limit")
    return float(value)


def moment(value: object) -> float:
    """A time as ISO 8601 with its zone, in seconds since the epoch; one that every calendar knows."""
    found = datetime.fromisoformat(text(value))
    if found.tzinfo is None:
        raise ValueError("a time has no zone")
    seconds = found.timestamp()
    if not 0 <= seconds <= LATEST_TIME:
        raise ValueError("a time is beyond any limit")
    return seconds


def built(kind: Callable[..., _Record], row: dict[str, Any]) -> _Record:
    """The dataclass `kind` from the fields of `row` that it knows, each value as its annotation says."""
    return kind(**{name: _converted(hint, row[name]) for name, hint in _hints(kind).items() if name in row})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _converted(hint: Any, value: Any) -> Any:
    """`value` as `hint`: a number, text, flag or dataclass, or a tuple, Mapping or `... | None` of those."""
    if hint in _PLAIN:
        return _PLAIN[hint](value)
    if isinstance(hint, type) and is_dataclass(hint):
        return built(hint, mapping(value))
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is UnionType:
        return None if value is None else _converted(arguments[0], value)
    if origin is Mapping:
        return {name: _converted(arguments[1], inner) for name, inner in mapping(value).items()}
    inner = listing(value)
    if arguments[-1] is Ellipsis:
        return tuple(_converted(arguments[0], one) for one in inner)
    return tuple(_converted(one, given) for one, given in zip(arguments, inner, strict=True))


_PLAIN: dict[Any, Callable[[Any], Any]] = {str: text, int: integer, float: number, bool: flag}


def _kind(value: object) -> str:
    return type(value).__name__
