"""`studio log --verify`: what can be said of the versions of artifacts, and of those that are missing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from studio_cas.cli.naming import find_tags
from studio_cas.cli.rendering import age, counted, print_json_list, print_table, printable, timestamp
from studio_cas.errors import CorruptError, UntrustedError
from studio_cas.formats import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.formats.spec import Spec
    from studio_cas.store.store import Store
    from studio_cas.store.verifying import Finding, State

NAMED = 5
"""Versions with the same problem that are named."""


def verify(store: Store, experiment: str, spec: Spec | None, limit: int | None, *, as_json: bool) -> int:
    """Print what is found; the exit code says whether all is good. Raises NotFoundError, ConfigError."""
    counts: Counter[State] = Counter()
    findings = _findings(store, experiment, spec, limit, counts)
    if as_json:
        print_json_list(map(_record, findings))
        return _exit_code(counts)
    told = list(findings)
    now = time.time()
    print_table(("VERSION", "SIGNATURE", "SIGNER", "CAPTURED", "MANIFEST", "BY"), [_row(one, now) for one in told])
    amounts = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    print(f"{counted(sum(counts.values()), 'version')}: {amounts or 'nothing to verify'}")
    _complain(told)
    return _exit_code(counts)


def _complain(findings: list[Finding]) -> None:
    """One sentence for all that have the same problem."""
    names: dict[tuple[State, str], list[str]] = {}
    for one in findings:
        if one.problem:
            names.setdefault((one.state, one.problem), []).append(one.name)
    sys.stdout.flush()
    for (state, problem), which in names.items():
        more = f" and {len(which) - NAMED:,} more" if len(which) > NAMED else ""
        verb = "is" if len(which) == 1 else "are"
        print(f"studio: {', '.join(which[:NAMED])}{more} {verb} {state}: {printable(problem)}", file=sys.stderr)


def _findings(
    store: Store, experiment: str, spec: Spec | None, limit: int | None, counts: Counter[State]
) -> Iterator[Finding]:
    from studio_cas.store.verifying import history

    for tag in _tags(store, experiment, spec):
        for found in history(store, experiment, tag, limit):
            counts[found.state] += found.number - (found.first or found.number) + 1
            yield found


def _tags(store: Store, experiment: str, spec: Spec | None) -> list[str]:
    """The artifacts to look at: also those that are gone, where this machine saw them. Raises NotFoundError."""
    from studio_cas.store import heads
    from studio_cas.store.versions import list_tags, resolve_spec

    seen = heads.recall_tags(store, experiment)
    if spec is not None:
        if spec.tag not in seen and not any(store.backend.list(keys.versions(experiment, spec.tag), limit=1)):
            resolve_spec(store, spec)  # says what there is instead
        return [spec.tag]
    return sorted({*seen, *(list_tags(store, experiment) if seen else find_tags(store, experiment))})


def _exit_code(counts: Counter[State]) -> int:
    from studio_cas.store.verifying import TAMPERED, State

    if any(counts[state] for state in TAMPERED):
        return CorruptError.exit_code
    return 0 if set(counts) <= {State.GOOD} else UntrustedError.exit_code


def _row(found: Finding, now: float) -> tuple[str, ...]:
    made = found.version
    signer = found.signer or (f"{found.key[:16]}..." if found.key else "")
    return (
        found.name,
        found.state,
        printable(signer) + (" (a copy)" if found.origin else ""),
        age(now - made.time) if made else "",
        made.manifest_id.hex()[:12] if made else "",
        printable(f"{made.user}@{made.host}") if made else "",
    )


def _record(found: Finding) -> dict[str, Any]:
    """A finding; the JSON keys are stable, and listed in docs/cli.md."""
    made = found.version
    return {
        "experiment": found.experiment,
        "tag": found.tag,
        "version": found.number,
        "first": found.first or found.number,
        "state": found.state,
        "problem": found.problem or None,
        "signer": found.signer,
        "key": found.key,
        "copied_from": found.origin,
        "manifest": str(made.manifest_id) if made else None,
        "time": timestamp(made.time) if made else None,
        "host": made.host if made else None,
        "user": made.user if made else None,
    }
