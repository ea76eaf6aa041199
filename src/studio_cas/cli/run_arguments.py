"""The words after `studio run`, sorted: our options, the script, and what belongs to the script. Pure.

The spellings of old all work: `--capture=~/w:w`, `--capture ~/w:w`, `-c=~/w:w`, `-c ~/w:w`, `-co=~/d:d`, `-co ~/d:d`.
Our options end at the script, or at `--`, after which any command may stand.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio_cas.errors import UsageError

VALUES = {  # option: its name in Arguments; those in MANY may be repeated
    "--capture": "capture", "-c": "capture",
    "--capture-once": "capture_once", "-co": "capture_once",
    "--reuse": "reuse", "-r": "reuse",
    "--experiment": "experiment", "-e": "experiment",
    "--queue": "queue", "-q": "queue",
    "--config": "config", "--store": "store", "--home": "home", "--interval": "interval", "--grace": "grace",
}  # fmt: skip
FLAGS = {
    "--join": "join",
    "--no-workspace": "no_workspace", "--no-output": "no_output",
    "--no-modeldir": "no_modeldir", "--no-tb": "no_tb",
    "--workspace-all": "workspace_all",
    "--quiet": "quiet",
    "--verbose": "verbose", "-v": "verbose",
    "--stats": "stats",
    "--help": "help", "-h": "help",
}  # fmt: skip
MANY = frozenset({"capture", "capture_once", "reuse"})


@dataclass(frozen=True, slots=True)
class Arguments:
    """`script` is the Python script to run, or "" where a whole command followed `--`; `rest` is what follows."""

    values: dict[str, str]
    lists: dict[str, tuple[str, ...]]
    flags: frozenset[str]
    script: str
    rest: tuple[str, ...]

    def value(self, name: str) -> str | None:
        """The value of an option, None where it was not given."""
        return self.values.get(name)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of an option that may be repeated, in order."""
        return self.lists.get(name, ())

    @property
    def command(self) -> tuple[str, ...]:
        """All words of what is run."""
        return (self.script, *self.rest) if self.script else self.rest


def parse_arguments(words: tuple[str, ...] | list[str]) -> Arguments:
    """Sort `words`. Raises UsageError, in one sentence that says what to write instead."""
    values: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    flags: set[str] = set()
    script, rest = "", list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            script = _check_script(word, rest)
            break
        option, equals, value = word.partition("=")
        if option in FLAGS and not equals:
            flags.add(FLAGS[option])
            continue
        name = _name_of(option, equals)
        value = value if equals else _next_word(option, rest)
        if name in MANY:
            lists[name] = (*lists.get(name, ()), _filled(option, value))
        elif name in values and values[name] != value:
            raise UsageError(f"{option} is given twice, as {values[name]!r} and {value!r}")
        else:
            values[name] = _filled(option, value)
    return Arguments(values, lists, frozenset(flags), script, tuple(rest))


def _check_script(word: str, rest: list[str]) -> str:
    if word.endswith(".py"):
        return word
    said = " ".join([word, *rest[:3], *(["…"] if rest[3:] else [])])
    raise UsageError(
        f"{word!r} is not a Python script (.py); to run any other command, put -- before it: studio run -- {said}"
    )


def _name_of(option: str, equals: str) -> str:
    if option in FLAGS:
        raise UsageError(f"{option} takes no value")
    if option in VALUES:
        return VALUES[option]
    from difflib import get_close_matches

    close = get_close_matches(option, [*VALUES, *FLAGS], n=1, cutoff=0.6)
    glued = [short for short in ("-co", "-c", "-r", "-e") if option.startswith(short)]
    if close:
        hint = f"did you mean {close[0]}{equals}?"
    elif glued:
        hint = f"did you mean {glued[0]}={option.removeprefix(glued[0])}?"
    else:
        hint = "see studio run --help; the script's own options follow the script"
    raise UsageError(f"unknown option {option}: {hint}")


def _next_word(option: str, rest: list[str]) -> str:
    if not rest or rest[0] == "--" or rest[0].partition("=")[0] in {*VALUES, *FLAGS}:
        raise UsageError(f"{option} needs a value")
    return rest.pop(0)


def _filled(option: str, value: str) -> str:
    if not value:
        raise UsageError(f"{option} needs a value")
    return value
