"""`studio doctor`: is everything in order, and what is to be done where it is not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli import checks, store_checks
from studio_cas.cli.commands import new_app
from studio_cas.cli.rendering import print_json, printable
from studio_cas.cli.session import Session, session_of
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.cli.checks import Finding

app = new_app()


@app.command(epilog="Example: studio doctor --write-test")
def doctor(
    ctx: typer.Context,
    write_test: Annotated[
        bool,
        typer.Option("--write-test", help="Create a small object in the store too (and the bucket, where missing)."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Check versions, configuration, home, credentials, store, clock and system limits, and say what to do.

    Ends with 1 where a check failed; warnings do not count. Nothing is written without --write-test.
    """
    findings = list(_examine(session_of(ctx), write_test=write_test))
    failed = any(finding.state == "fail" for finding in findings)
    if as_json:
        print_json({"ok": not failed, "checks": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            print(f"{finding.state:<5} {finding.subject}: {printable(finding.text)}")
            if finding.advice:
                print(f"      -> {printable(finding.advice)}")
    return 1 if failed else 0


def _examine(session: Session, *, write_test: bool) -> Iterator[Finding]:
    yield from checks.check_versions()
    try:
        config = session.configuration()
    except UsageError as error:
        yield checks.Finding("configuration", "fail", str(error), "correct the file; docs/cli.md lists the keys")
    else:
        text = str(config.file or "none, defaults are used")
        yield checks.Finding("configuration", "warn" if config.warnings else "ok", text, "; ".join(config.warnings))
        yield from checks.check_home(config.home)
        yield from checks.check_signing(config)
        yield from store_checks.check_credentials(config.storage)
        yield from store_checks.check_store(config, write_test=write_test)
    yield from checks.check_system()
