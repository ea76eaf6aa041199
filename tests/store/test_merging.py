"""Which packs are merged: few enough stay, and no byte is copied more than a few times."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from studio_cas.ids import PackId
from studio_cas.store.merging import DEFAULT, MIB, NEVER, PACK, Policy, Used, choose

NOW = 1_000_000.0


def packs(*sizes, made=NOW):
    return [Used(PackId(index.to_bytes(16)), size, made) for index, size in enumerate(sizes)]


def sizes(known, now=NOW, policy=DEFAULT):
    """The sizes of the packs that are chosen."""
    chosen = choose(known, now, policy)
    return [one.used for pack in chosen for one in known if one.pack == pack]


def test_small_packs_are_merged_when_they_reach_16_mib():
    larger = Policy(small=4 * MIB)
    assert sizes(packs(*[3 * MIB] * 5), policy=larger) == []
    assert sizes(packs(*[3 * MIB] * 6), policy=larger) == [3 * MIB] * 6


def test_small_packs_are_merged_when_a_few_are_30_minutes_old():
    known = packs(5, 6, 7, 8)
    assert sizes(known, NOW + 1799) == []
    assert sizes(known, NOW + 1800) == [5, 6, 7, 8]
    assert sizes(packs(5, 6, 7), NOW + 10**6) == []


def test_small_packs_are_merged_when_they_are_many():
    assert sizes(packs(*[10] * 7)) == []
    assert sizes(packs(*[10] * 8)) == [10] * 8


def test_what_was_merged_waits_until_as_much_has_come_since():
    assert sizes(packs(*[10] * 8, 80)) == [10] * 8 + [80]
    assert sizes(packs(*[10] * 8, 81)) == [10] * 8


def test_one_tiny_pack_does_not_keep_the_others_apart():
    assert sizes(packs(1, *[10] * 8)) == [1] + [10] * 8


def test_packs_of_which_much_is_used_stay_as_they_are():
    assert sizes(packs(*[2 * MIB] * 100)) == []


def test_packs_of_others_are_left_alone_unless_there_are_too_many():
    assert sizes(packs(*[10] * 16, made=None)) == []
    assert sizes(packs(*[10] * 17, made=None)) == [10] * 17


def test_one_capture_copies_no_more_than_the_limit():
    assert sizes(packs(*[10] * 20), policy=Policy(limit=35, many=3)) == [10] * 3
    assert 0 < sum(sizes(packs(*[MIB] * 500))) <= DEFAULT.limit


@given(st.lists(st.tuples(st.integers(0, 40 * MIB), st.booleans(), st.integers(0, 4000)), max_size=60))
def test_whatever_there_is(found):
    known = [
        Used(PackId(index.to_bytes(16)), used, NOW - age if own else None)
        for index, (used, own, age) in enumerate(found)
    ]
    chosen = choose(known, NOW)
    assert choose(known, NOW, NEVER) == []
    assert len(set(chosen)) == len(chosen) != 1
    merged = [one for one in known if one.pack in chosen]
    assert sum(one.used for one in merged) <= DEFAULT.limit
    assert all(one.used < DEFAULT.small for one in merged)
    if merged:  # what is copied at least doubles
        assert 2 * max(one.used for one in merged) <= sum(one.used for one in merged)


@given(st.lists(st.integers(1, 6 * MIB), min_size=1, max_size=400))
def test_packs_of_a_long_history_stay_few_and_are_copied_seldom(history):
    """Each version adds a pack; merging puts the small ones into it."""
    known, copied = [], 0
    for number, size in enumerate(history):
        chosen = set(choose(known, NOW))
        merged = sum(one.used for one in known if one.pack in chosen)
        known = [one for one in known if one.pack not in chosen]
        known.append(Used(PackId(number.to_bytes(16)), size + merged, NOW))
        copied += merged
        small = [one for one in known if one.used < DEFAULT.small]
        assert len(small) <= DEFAULT.many + math.log2(DEFAULT.small)
    total = sum(history)
    assert copied <= total * (2 + math.log2(DEFAULT.small / min(history) + 1))
    assert len(known) <= total / DEFAULT.small + DEFAULT.many + math.log2(DEFAULT.small) + 1


def test_500_versions_of_any_steady_size_are_a_few_packs():
    for size in (1000, 20_000, 300_000, MIB, 2 * MIB, 3 * MIB):
        known, copied = [], 0
        for number in range(500):
            chosen = set(choose(known, NOW + 60 * number))
            merged = sum(one.used for one in known if one.pack in chosen)
            known = [one for one in known if one.pack not in chosen]
            known.append(Used(PackId(number.to_bytes(16)), size + merged, NOW + 60 * number))
            copied += merged
        assert len(known) <= 500 * size / (PACK / 16) + 14
        assert copied <= 6 * 500 * size
