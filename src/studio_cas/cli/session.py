"""What the shared options say, and what follows from it: the home, the configuration, the open store."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperOption

if TYPE_CHECKING:
    import typer

    from studio_cas.formats.spec import Spec
    from studio_cas.store.store import Store
    from studio_cas.store.versions import Version


def default_home() -> Path:
    """`$STUDIOML_HOME`, or `~/.studioml`."""
    return Path(os.environ.get("STUDIOML_HOME") or "~/.studioml").expanduser()


@dataclass(frozen=True, slots=True)
class Session:
    """The shared options of one call; None where they were not given."""

    config: str | None = None
    store: str | None = None
    home: str | None = None
    verbose: bool = False

    @property
    def home_path(self) -> Path:
        """The folder of caches and of the default store."""
        return Path(self.home).expanduser() if self.home else default_home()

    def open_store(self) -> Store:
        """Open the store that the options and the configuration name."""
        raise NotImplementedError


def session_of(ctx: typer.Context) -> Session:
    """The session of a call, as far as its options have been read."""
    return ctx.obj if isinstance(ctx.obj, Session) else Session()


def version_of(store: Store, spec: Spec) -> Version:
    """The version that `spec` names, whatever path inside it. Raises NotFoundError, which names what there is."""
    from studio_cas.store.versions import resolve

    return resolve(store, str(dataclasses.replace(spec, path=b"")))


def _remember(ctx: typer.Context, param: TyperOption, value: Any) -> None:
    if value and param.name:
        ctx.obj = dataclasses.replace(session_of(ctx), **{param.name: value})


def shared_options() -> list[TyperOption]:
    """The options that stand before a command's name or after it; they end up in the session, not in a parameter."""
    texts = [
        (["--config"], "FILE", "The configuration file; else ~/.studioml/config.yaml."),
        (["--store"], "URL", "The store: gs://BUCKET/PREFIX or a folder; else as configured."),
        (["--home"], "DIR", "The folder of caches and default store; else ~/.studioml."),
    ]
    options = [
        TyperOption(param_decls=names, metavar=metavar, help=text, callback=_remember, expose_value=False)
        for names, metavar, text in texts
    ]
    verbose = TyperOption(
        param_decls=["--verbose", "-v"],
        is_flag=True,
        default=False,
        help="Say more about what happens.",
        callback=_remember,
        expose_value=False,
    )
    return [*options, verbose]
