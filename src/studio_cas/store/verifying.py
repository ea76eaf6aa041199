"""What can be said of versions: signed by whom, forged, dropped, reordered; and what must not be used unsigned.

A history is read from the newest version to the oldest. A version that is signed by somebody who is trusted says which
version came before it, by number and by the id of its record; this machine remembers the newest that it saw. Whatever
comes later in the listing has to fit what was said so. What others say, who are not trusted, counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final

from studio_cas.errors import CorruptError, NotFoundError, UntrustedError
from studio_cas.formats import keys, signature, version
from studio_cas.formats.signature import Predecessor
from studio_cas.store import heads, versions
from studio_cas.store.signing import record_id
from studio_cas.store.trust import trusted_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from studio_cas.formats.spec import Spec
    from studio_cas.formats.version import Version
    from studio_cas.ids import RecordId
    from studio_cas.store.store import Store
    from studio_cas.store.trust import TrustedKey

SEARCHED: Final = 100
"""Older versions that are looked at for one that could be used in place of one that cannot."""


class State(StrEnum):
    """What can be said of a version."""

    GOOD = "good"
    UNSIGNED = "unsigned"
    UNTRUSTED = "untrusted"
    FORGED = "forged"
    REORDERED = "reordered"
    REPLACED = "replaced"
    DROPPED = "dropped"
    DAMAGED = "damaged"


TAMPERED: Final = frozenset({State.FORGED, State.REORDERED, State.REPLACED, State.DROPPED, State.DAMAGED})
"""Somebody, or a fault, changed what was there; the other states come of never having signed, or trusted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of version `number` of an artifact; where it was dropped, `first` is the lowest that is missing.

    `problem`: what is wrong, and what to do; empty where it is good. `signer`: whose the key is, None where that is not
    known. `version`: the record, None where there is none that could be read. `record_id`: of what lies there.
    """

    experiment: str
    tag: str
    number: int
    state: State
    problem: str = ""
    signer: str | None = None
    key: str | None = None
    origin: str | None = None
    previous: Predecessor | None = None
    version: Version | None = None
    record_id: RecordId | None = None
    first: int = 0

    @property
    def name(self) -> str:
        """`exp/tag@7`; `exp/tag@5 to 7` where several were dropped."""
        several = 0 < self.first < self.number
        numbers = f"{self.first} to {self.number}" if several else f"{self.number}"
        return f"{self.experiment}/{self.tag}@{numbers}"


def judge(store_id: str, trusted: Sequence[TrustedKey], key: str, record: bytes) -> Finding:
    """What the record under `key` says for itself; whether others say something else of it is not looked at."""
    experiment, tag = key.split("/")[1:3]
    found = Finding(experiment, tag, keys.version_number(key), State.DAMAGED, record_id=record_id(record))
    try:
        made = version.decode(record)
    except CorruptError as error:
        return replace(found, problem=f"{error}: restore the object, or take another version")
    found = replace(found, version=made)
    if made.name != found.name:
        return replace(
            found,
            state=State.REORDERED,
            problem=f"in its place lies {made.name}: records were exchanged, or copied from one place to another; "
            "restore the objects, and see who may delete in the store",
        )
    try:
        signed = signature.read(record)
    except CorruptError as error:
        return replace(found, state=State.FORGED, problem=f"{error}: {_FORGED_ADVICE}")
    if signed is None:
        return replace(found, state=State.UNSIGNED, problem=_UNSIGNED)
    return _judge_signed(store_id, trusted, replace(found, key=signed.statement.key), signed)


_UNSIGNED: Final = "nobody signed it: whoever may write to the store can have made it"
_FORGED_ADVICE: Final = "do not use it; take another version, and see who may write to the store"


def _judge_signed(store_id: str, trusted: Sequence[TrustedKey], found: Finding, signed: signature.Signed) -> Finding:
    from studio_cas.store import ed25519

    key, stated = signed.statement.key, signed.statement
    owner = next((one for one in trusted if one.key == key), None)
    whose = f"the key of {owner.name}" if owner else f"the key {key}"
    found = replace(found, signer=owner.name if owner else None)
    if not ed25519.verify(signature.parse_key(key), signed.signature, signed.message):
        return replace(
            found,
            state=State.FORGED,
            problem=f"its signature is not one by {whose}: it was changed, or made by somebody else; {_FORGED_ADVICE}",
        )
    if owner is None:
        advice = f"where you know whose it is: studio trust add NAME {key}"
        return replace(found, state=State.UNTRUSTED, problem=f"it is signed with a key that is not trusted; {advice}")
    if not owner.covers(found.experiment):
        patterns = " ".join(owner.experiments)
        problem = f"{owner.name} signed it, who is trusted for the experiments {patterns} only: studio trust shows it"
        return replace(found, state=State.UNTRUSTED, problem=problem)
    if stated.store != store_id:
        problem = (
            f"{owner.name} signed it for another store, {stated.store}: it was copied here by hand; {_FORGED_ADVICE}"
        )
        return replace(found, state=State.FORGED, problem=problem)
    return replace(found, state=State.GOOD, origin=stated.origin, previous=stated.previous)


# --- a history ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody who is believed says that a version was there, with that record."""

    version: Predecessor
    who: str


def history(store: Store, experiment: str, tag: str, limit: int | None = None) -> Iterator[Finding]:
    """All versions, or the `limit` newest ones, and those that are missing, newest first.

    The newest good one is remembered, so that its disappearance is noticed later. Raises ConfigError, CorruptError.
    """
    heads.check_store(store)
    trusted = trusted_keys(store.home)
    head = heads.recall(store, experiment, tag)
    claims = [_Claim(head.version, _seen(head))] if head else []
    above = keys.NUMBER_LIMIT
    newest_good: Predecessor | None = None
    intact = head is None
    for key, record in versions.list_records(store, experiment, tag, limit):
        found = judge(store.config.store_id, trusted, key, record)
        yield from _dropped(experiment, tag, claims, found.number, above)
        intact = intact or (head is not None and head.version == Predecessor(found.number, record_id(record)))
        found = _compared(found, [claim for claim in claims if claim.version.number == found.number])
        claims = [claim for claim in claims if claim.version.number < found.number]
        above = found.number
        if found.state is State.GOOD:
            if found.record_id is not None and newest_good is None:
                newest_good = Predecessor(found.number, found.record_id)
            if found.previous is not None:
                claims.append(_Claim(found.previous, f"{found.name} was signed after it"))
        yield found
    if limit is None:
        yield from _dropped(experiment, tag, claims, 0, above)
    if newest_good is not None and intact:
        heads.remember(store, experiment, tag, newest_good)


def _seen(head: heads.Head) -> str:
    return f"this machine saw it on {datetime.fromtimestamp(head.seen).astimezone():%Y-%m-%d %H:%M}"


def _dropped(experiment: str, tag: str, claims: Sequence[_Claim], below: int, above: int) -> Iterator[Finding]:
    """What is said to have been between two versions that follow each other in the listing."""
    missing = [claim for claim in claims if below < claim.version.number < above]
    if not missing:
        return
    last = max(missing, key=lambda claim: claim.version.number)
    problem = (
        f"it is gone, and {last.who}: studio rm or runs rm removed it, or somebody who may delete in the store did"
    )
    yield Finding(experiment, tag, last.version.number, State.DROPPED, problem, first=below + 1)


def _compared(found: Finding, claims: Sequence[_Claim]) -> Finding:
    """`found`, or that it replaces what is said to have been there. What is wrong with it anyway is said first."""
    other = next((claim for claim in claims if claim.version.record_id != found.record_id), None)
    if other is None or found.state not in {State.GOOD, State.UNSIGNED, State.UNTRUSTED}:
        return found
    problem = (
        f"another record was there, and {other.who}: that one was removed, and this one put in its place; do not use "
        "it, and see who may delete in the store"
    )
    return replace(found, state=State.REPLACED, problem=problem)


def judge_one(store: Store, found: Version) -> Finding | None:
    """What the record of `found` says for itself; None where nobody on this machine asked for signatures."""
    trusted = trusted_keys(store.home)
    if store.signer is None and not trusted:
        return None
    key = keys.version(found.experiment, found.tag, found.number)
    return judge(store.config.store_id, trusted, key, bytes(store.backend.read(key)))


# --- what may be used -----------------------------------------------------------------------------------------------


def vouched(store: Store, found: Version, spec: Spec | None = None) -> Version:
    """The version `found`, where the store's user demands signatures only if it has a good one.

    It comes from the very bytes that were verified. With a `spec` that can mean another version tomorrow, also the
    newest one that this machine saw must still be there. Raises UntrustedError, ConfigError, CorruptError.
    """
    if not store.require_signatures:
        return found
    heads.check_store(store)
    trusted = trusted_keys(store.home)
    key = keys.version(found.experiment, found.tag, found.number)
    finding = judge(store.config.store_id, trusted, key, bytes(store.backend.read(key)))
    head = heads.recall(store, found.experiment, found.tag)
    intact = True
    if head is not None:
        finding = _compared(finding, [_Claim(head.version, _seen(head))] if head.version.number == found.number else [])
        intact = head.version == _lying_at(store, finding, head.version.number)
        if not intact and spec is not None and not _is_fixed(spec.version):
            raise UntrustedError(_went_back(found, head))
    if finding.state is not State.GOOD or finding.version is None or finding.record_id is None:
        raise UntrustedError(f"{finding.name} is {finding.state}: {finding.problem}{_instead(store, trusted, finding)}")
    if intact:
        heads.remember(store, found.experiment, found.tag, Predecessor(found.number, finding.record_id))
    return finding.version


def _lying_at(store: Store, finding: Finding, number: int) -> Predecessor | None:
    """What lies in the store as version `number`, of which `finding` may be."""
    if finding.number == number and finding.record_id is not None:
        return Predecessor(number, finding.record_id)
    try:
        record = bytes(store.backend.read(keys.version(finding.experiment, finding.tag, number)))
    except NotFoundError:
        return None
    return Predecessor(number, record_id(record))


def _went_back(found: Version, head: heads.Head) -> str:
    artifact = f"{found.experiment}/{found.tag}"
    return (
        f"{artifact}@{head.version.number} is gone or was replaced, and {_seen(head)}: name the version that you want "
        f"by its number, or where it was removed on purpose: studio trust forget {artifact}"
    )


def resolve_vouched(store: Store, spec: Spec) -> Version:
    """The version that `spec` names, in order to use what it holds; see `vouched`.

    Raises as `resolve_spec` does, and CorruptError where what was verified is not what the name was found to mean: it
    was found by its time, or its manifest id.
    """
    found = versions.resolve_spec(store, spec)
    used = vouched(store, found, spec)
    if (used.manifest_id, used.time) != (found.manifest_id, found.time):
        raise CorruptError(f"{found.name} became another version while {spec} was looked for: {_FORGED_ADVICE}")
    return used


def _is_fixed(wanted: str | None) -> bool:
    """Whether it means the same version for ever: a number, or a manifest id."""
    return wanted is not None and "-" not in wanted and wanted != "latest"


def _instead(store: Store, trusted: Sequence[TrustedKey], finding: Finding) -> str:
    """Which older version could be taken."""
    records = versions.list_records(store, finding.experiment, finding.tag, SEARCHED)
    for key, record in islice(records, SEARCHED):
        if keys.version_number(key) < finding.number:
            other = judge(store.config.store_id, trusted, key, record)
            if other.state is State.GOOD:
                return f" (the newest one before it that is signed is {other.name})"
    return ""


def check_source(store: Store, found: Version, *, signing: bool) -> tuple[Version, str | None]:
    """Before `found` is copied: the version, and the key that signed it where that is trusted.

    With `signing`, the copy will be signed in its place. Raises UntrustedError where signatures are demanded and it has
    no good one, and CorruptError where it was tampered with.
    """
    if not (signing or store.require_signatures):
        return found, None
    key = keys.version(found.experiment, found.tag, found.number)
    finding = judge(store.config.store_id, trusted_keys(store.home), key, bytes(store.backend.read(key)))
    good = finding.state is State.GOOD
    if finding.version is None or finding.state in TAMPERED or (store.require_signatures and not good):
        kind = CorruptError if finding.state in TAMPERED else UntrustedError
        raise kind(f"{finding.name} is {finding.state}: {finding.problem}")
    return finding.version, finding.key if good else None
