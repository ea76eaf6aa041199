"""A model of writers beside collectors: every interleaving, for small numbers of both.

Run it: `python tests/store/collector_model.py` (a minute). A protocol is safe when no acknowledged version ever names a
pack that is gone. docs/concurrency.md tells it in words; guard.py, draining.py and collecting.py of `store` do it.

State: packs that exist, the next pack name (names are never used twice), pins, versions, each collector's condemned
list. A writer adopts pack 1, which no version names yet: the dangerous case.

  protocol "look"     pin → read condemned lists → create version → read them again → acknowledge → unpin
  protocol "version"  create version → read condemned lists → acknowledge
                      (own packs, or packs of the parent version)
  protocol "pin"      pin → read condemned lists → create version → pin still there, or read again → acknowledge → unpin
                      (what waited on a machine)
  collector           list packs → mark → publish condemned → list pins, then versions → delete the rest

`janitor` lets anyone remove any pin at any time. `without` leaves a step out: what loses data then is needed.
"""

# ruff: noqa: T201

from __future__ import annotations

from collections import deque

PINS_FIRST, THE_LIST, LISTING_AGAIN, LOOKING_AFTER = "pins first", "the list", "listing again", "looking after"
CASES = (
    {"writers": 1, "collectors": 1, "protocol": "pin"},
    {"writers": 1, "collectors": 1, "protocol": "look", "janitor": True},
    {"writers": 1, "collectors": 2, "protocol": "version", "reuploads": 2},
    {"writers": 1, "collectors": 2, "protocol": "pin", "janitor": True, "reuploads": 2},
    {"writers": 2, "collectors": 1, "protocol": "look", "janitor": True},
)
LONG_CASES = (
    {"writers": 2, "collectors": 2, "protocol": "pin"},
    {"writers": 2, "collectors": 2, "protocol": "pin", "janitor": True},
    {"writers": 2, "collectors": 2, "protocol": "look", "janitor": True},
    {"writers": 2, "collectors": 2, "protocol": "version", "reuploads": 2},
    {"writers": 3, "collectors": 2, "protocol": "version"},
)
LOSING_CASES = (
    {"writers": 1, "collectors": 1, "protocol": "pin", "without": PINS_FIRST},
    {"writers": 1, "collectors": 1, "protocol": "look", "without": THE_LIST},
    {"writers": 1, "collectors": 1, "protocol": "version", "without": THE_LIST},
    {"writers": 1, "collectors": 1, "protocol": "look", "without": LISTING_AGAIN},
    {"writers": 1, "collectors": 1, "protocol": "version", "without": LOOKING_AFTER},
    {"writers": 1, "collectors": 1, "protocol": "pin", "janitor": True, "without": LOOKING_AFTER},
)


def replaced(items, position, value):
    return (*items[:position], value, *items[position + 1 :])


def explore(writers, collectors, protocol, *, janitor=False, reuploads=1, without=""):
    """Whether it is safe; how many states were seen; and the states that lead to a loss, or None."""
    writer = ("create" if protocol == "version" else "pin", 1, 0, False)  # step, pack, re-uploads, acknowledged
    collector = ("list", frozenset(), frozenset())  # step, candidates, seen reachable
    start = (
        frozenset([1]),
        2,
        (0,) * writers,
        (0,) * writers,
        (frozenset(),) * collectors,
        (writer,) * writers,
        (collector,) * collectors,
    )
    came_from = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        packs, _, _, versions, _, ws, _ = state
        if any(w[3] and versions[i] and versions[i] not in packs for i, w in enumerate(ws)):
            trace = []
            while state:
                trace.append(state)
                state = came_from[state]
            return False, len(came_from), trace[::-1]
        for following in (
            *write(state, protocol, reuploads, without),
            *remove(state, janitor),
            *gather(state, without),
        ):
            if following not in came_from:
                came_from[following] = state
                queue.append(following)
    return True, len(came_from), None


def remove(state, janitor):
    """Anyone removes any pin."""
    packs, fresh, pins, versions, condemned, ws, cs = state
    for i, pin in enumerate(pins):
        if janitor and pin:
            yield (packs, fresh, replaced(pins, i, 0), versions, condemned, ws, cs)


def write(state, protocol, reuploads, without):  # noqa: C901  (a step is a branch)
    """What each writer may do next."""
    packs, fresh, pins, versions, condemned, ws, cs = state
    condemned_now = frozenset().union(*condemned)
    for i, (step, pack, again, acked) in enumerate(ws):

        def writer(new, packs=packs, fresh=fresh, pins=pins, versions=versions, i=i):
            return (packs, fresh, pins, versions, condemned, replaced(ws, i, new), cs)

        if step == "pin":
            yield writer(("read", pack, again, acked), pins=replaced(pins, i, pack))
        elif step == "read":
            yield writer(("reupload" if pack in condemned_now else "create", pack, again, acked))
        elif step == "reupload" and again < reuploads:
            yield writer(("pin", fresh, again + 1, acked), packs=packs | {fresh}, fresh=fresh + 1)
        elif step == "create":
            after = "trust the pin" if protocol == "pin" else "verify"
            yield writer((after, pack, again, acked), versions=replaced(versions, i, pack))
        elif step == "trust the pin":  # one that somebody removed proves nothing
            yield writer(("unpin", pack, again, True) if pins[i] == pack else ("verify", pack, again, acked))
        elif step == "verify":
            lost = pack in condemned_now and without != LOOKING_AFTER
            yield writer(("reupload_after", pack, again, acked) if lost else ("unpin", pack, again, True))
        elif step == "unpin":
            yield writer(("end", pack, again, acked), pins=replaced(pins, i, 0))
        elif step == "reupload_after" and again < reuploads:
            yield writer(("create", fresh, again + 1, acked), packs=packs | {fresh}, fresh=fresh + 1)


def gather(state, without):
    """What each collector may do next."""
    packs, fresh, pins, versions, condemned, ws, cs = state
    for j, (step, candidates, reachable) in enumerate(cs):

        def collector(new, packs=packs, condemned=condemned, j=j):
            return (packs, fresh, pins, versions, condemned, ws, replaced(cs, j, new))

        first, second = (versions, pins) if without == PINS_FIRST else (pins, versions)
        if step == "list" and packs:
            yield collector(("mark", packs, frozenset()))
        elif step == "mark":
            unmarked = candidates - set(pins) - set(versions)
            yield collector(("publish", unmarked, frozenset()) if unmarked else ("stop", frozenset(), frozenset()))
        elif step == "publish":
            published = frozenset() if without == THE_LIST else candidates
            after = "delete" if without == LISTING_AGAIN else "first"
            yield collector((after, candidates, frozenset()), condemned=replaced(condemned, j, published))
        elif step == "first":
            yield collector(("second", candidates, frozenset(first)))
        elif step == "second":
            yield collector(("delete", candidates - reachable - set(second), frozenset()))
        elif step == "delete":
            yield collector(("stop", frozenset(), frozenset()), packs=packs - candidates)


def main():
    for case in (*CASES, *LONG_CASES, *LOSING_CASES):
        safe, states, trace = explore(**case)
        print("safe " if safe else "LOSES", f"{states:>9,} states", case, flush=True)
        for packs, _, pins, versions, condemned, ws, cs in (trace or [])[-6:]:
            print("     packs", set(packs), "pins", pins, "versions", versions, "lists", [set(c) for c in condemned])
            print("       writers", [w[:2] for w in ws], "collectors", [c[0] for c in cs])


if __name__ == "__main__":
    main()
