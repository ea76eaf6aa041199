"""What the shared options say, and what follows from it: the configuration and the open store."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer.core import TyperOption

from studio_cas.cli import stats
from studio_cas.cli.rendering import printable, size
from studio_cas.errors import NotFoundError, StoreUnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

    from studio_cas.config import Config
    from studio_cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Session:
    """The shared options of one call; None where they were not given."""

    config: str | None = None
    store: str | None = None
    home: str | None = None
    verbose: bool = False

    def configuration(self) -> Config:
        """The configuration in force; its warnings go to stderr. Raises ConfigError."""
        from studio_cas.config import load_config

        config = load_config(self.config, home=self.home, options={"storage": self.store})
        for warning in config.warnings:
            print(f"studio: warning: {printable(warning)}", file=sys.stderr)
        if self.verbose:
            print(f"studio: store {config.storage}, configuration {config.file or 'built in'}", file=sys.stderr)
        return config

    def open_store(self, *, create: bool = False) -> Store:
        """Open the store that the options and the configuration name; a missing one is an error without `create`."""
        return open_store(self.configuration(), create=create)


def open_store(config: Config, *, create: bool = False) -> Store:
    """Open the store that `config` names. Raises StoreUnavailableError where it is missing, without `create`."""
    from studio_cas.config import open_configured_store

    try:
        return open_configured_store(config, create=create)
    except NotFoundError as error:
        raise StoreUnavailableError(
            f"there is no store at {config.storage} yet: the first studio push or studio run makes it"
        ) from error


def session_of(ctx: typer.Context) -> Session:
    """The session of a call, as far as its options have been read."""
    return ctx.obj if isinstance(ctx.obj, Session) else Session()


def _remember(ctx: typer.Context, param: TyperOption, value: Any) -> None:
    if value == "":
        raise UsageError(f"{param.opts[0]} needs a value")
    if value and param.name:
        ctx.obj = dataclasses.replace(session_of(ctx), **{param.name: value})


@contextmanager
def shown_stats() -> Iterator[None]:
    """Print to stderr, when the block ends, what was asked of stores in it, and how many bytes went each way.

    Once, where blocks stand in each other: the option may stand before the command and after it.
    """
    if stats.counted() is not None:
        yield
        return
    stats.begin()
    try:
        yield
    finally:
        counts = stats.end()
        print(
            f"studio: {counts.class_a} class A requests ({counts.create} create, {counts.list} list), "
            f"{counts.class_b} class B ({counts.read} read, {counts.stat} stat), {counts.delete} free (delete); "
            f"sent {size(counts.bytes_out)}, received {size(counts.bytes_in)}",
            file=sys.stderr,
        )


def _count(ctx: typer.Context, param: TyperOption, value: Any) -> None:  # noqa: ARG001  # as typer calls it
    if value:
        ctx.with_resource(shown_stats())


def shared_options() -> list[TyperOption]:
    """The options that stand before a command's name or after it; they end up in the session, not in a parameter."""
    texts = [
        ("--config", "FILE", "The configuration file; else ~/.studioml/config.yaml."),
        ("--store", "URL", "The store: gs://, s3:// or az://BUCKET/PREFIX, or a folder; else as configured."),
        ("--home", "DIR", "The folder of caches and default store; else ~/.studioml."),
    ]
    options = [
        TyperOption(param_decls=[name], metavar=metavar, help=text, callback=_remember, expose_value=False)
        for name, metavar, text in texts
    ]
    verbose = TyperOption(
        param_decls=["--verbose", "-v"],
        is_flag=True,
        default=False,
        help="Say which store and configuration are used.",
        callback=_remember,
        expose_value=False,
    )
    counted = TyperOption(
        param_decls=["--stats"],
        is_flag=True,
        default=False,
        help="Say at the end what was asked of the store, by class of requests, and the bytes moved.",
        callback=_count,
        expose_value=False,
    )
    return [*options, verbose, counted]
