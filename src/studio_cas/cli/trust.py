"""`studio trust`: the key that signs versions on this machine, and the keys that it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import parse_scope
from studio_cas.cli.rendering import counted, print_json, print_table, printable
from studio_cas.cli.session import session_of
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from studio_cas.store.trust import TrustedKey

app = new_app(
    help="Sign versions, and say whose signatures are trusted.",
    epilog="Example: studio trust init, and on other machines: studio trust add ann ed25519:9f3c...",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, as it is to be shown.")]


@app.command(epilog="Example: studio trust init")
def init(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Whose key it is; else the user of the configuration.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the key that signs on this machine.

    From then on every version that is made here is signed. The private key stays in the home, closed to other
    users; the public one is printed, for those who want to verify.
    """
    from studio_cas.store import trust
    from studio_cas.store.signing import KEY_VARIABLE, key_path, make_key

    config = session_of(ctx).configuration()
    owner = trust.check_signer_name(name or config.user)
    trust.trusted_keys(config.home)  # a list that cannot be used is told before anything is made
    made = make_key(config.home)
    trust.add(config.home, owner, made.key)
    path, used = key_path(config.home, {}), key_path(config.home)
    if as_json:
        print_json({"name": owner, "key": made.key, "path": str(path)})
        return
    print(f"made the key {printable(str(path))}: whoever has it can sign in your name")
    print(f"public key: {made.key}")
    print(f"whoever wants to verify your versions calls: studio trust add {printable(owner)} {made.key}")
    if used != path:
        print(f"it does not sign yet: {KEY_VARIABLE} names another key, {printable(str(used))}")


@app.command(epilog="Example: studio trust add ann ed25519:9f3c... --experiments 'vision-*'")
def add(
    ctx: typer.Context,
    name: Name,
    key: Annotated[str, typer.Argument(metavar="PUBKEY", help="The public key, as studio trust init printed it.")],
    experiments: Annotated[
        list[str] | None,
        typer.Option("--experiments", metavar="PATTERN", help="Only for experiments that match; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Trust what is signed with a key.

    Make sure that it is theirs: let them read it to you, or take it from a place that only they can write.
    """
    from studio_cas.store import trust

    made = trust.add(session_of(ctx).configuration().home, name, key, experiments or ())
    if as_json:
        print_json(_record(made))
    else:
        print(f"{printable(made.name)} is trusted for {_scope(made)}: {made.key}")


@app.command("list", epilog="Example: studio trust list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the keys that are trusted, and which one signs."""
    from studio_cas.store.signing import key_path, load_signer
    from studio_cas.store.trust import trusted_keys

    home = session_of(ctx).configuration().home
    known = trusted_keys(home)
    signer = load_signer(home)
    mine = signer.key if signer else None
    if as_json:
        signing = {"key": mine, "path": str(key_path(home))} if mine else None
        print_json({"signing": signing, "trusted": [_record(one) for one in known]})
        return
    if known:
        rows = [(printable(one.name), one.key, _scope(one), "signs here" * (one.key == mine)) for one in known]
        print_table(("NAME", "KEY", "TRUSTED FOR", "NOTE"), rows)
    else:
        print("no key is trusted on this machine")
    _say_signing(mine, key_path(home), known)


def _say_signing(mine: str | None, path: Path, known: list[TrustedKey]) -> None:
    if mine is None:
        print("versions made here are not signed: studio trust init makes a key")
    elif all(one.key != mine for one in known):
        print(f"versions made here are signed with {mine}, from {printable(str(path))}, which is not trusted here")


@app.command(epilog="Example: studio trust remove ann")
def remove(
    ctx: typer.Context,
    name: Name,
    key: Annotated[str | None, typer.Argument(metavar="[PUBKEY]", help="Only this key; else all of that name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Trust somebody's keys no more.

    Versions that they signed, earlier ones too, are untrusted from then on.
    """
    from studio_cas.store import trust

    gone = trust.remove(session_of(ctx).configuration().home, name, key)
    if as_json:
        print_json({"removed": [_record(one) for one in gone]})
        return
    for one in gone:
        print(f"{printable(one.name)} is trusted no more: {one.key}")


@app.command(epilog="Example: studio trust forget my_run/weights")
def forget(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP[/TAG]", help="An artifact, or a whole experiment.")],
    as_json: AsJson = False,
) -> None:
    """Forget the newest versions that were seen.

    Where versions were removed on purpose, this machine goes on missing the newest one that it saw, until it
    forgets it.
    """
    from studio_cas.store import heads

    experiment, spec = parse_scope(name)
    if spec is not None and (spec.version is not None or spec.path):
        raise UsageError(f"{name!r} names a version or a path: forget takes EXP/TAG, or EXP")
    with session_of(ctx).open_store() as store:
        count = heads.forget(store, experiment, spec.tag if spec else None)
    if as_json:
        print_json({"forgotten": count})
    else:
        print(f"forgot the newest version of {counted(count, 'artifact')}; what is there now is taken as it is")


def _scope(one: TrustedKey) -> str:
    return printable(" ".join(one.experiments)) or "all experiments"


def _record(one: TrustedKey) -> dict[str, Any]:
    return {"name": one.name, "key": one.key, "experiments": list(one.experiments)}
