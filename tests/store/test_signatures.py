"""What somebody can do who may change the objects of a store, and how it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio_cas.errors import CorruptError
from studio_cas.formats import signature, version
from studio_cas.formats.spec import parse_spec
from studio_cas.store import trust
from studio_cas.store.signing import load_signer
from studio_cas.store.store import open_store
from studio_cas.store.verifying import resolve_vouched
from studio_cas.worktree.capture import capture

pytestmark = pytest.mark.own_store


def test_a_record_that_was_changed_is_forged(attacker, bob):
    record = attacker.reads(3)
    attacker.writes(3, record.replace(b'"host": "', b'"host": "not-'))
    assert bob.finds() == ["1 good", "2 good", "3 forged", "4 good", "5 good"]
    assert "the key of ann" in bob.tells()


def test_a_record_with_other_content_is_forged(attacker, ann, bob):
    row = json.loads(attacker.reads(5)) | {"manifest": "ab" * 32}
    attacker.writes(5, (json.dumps(row, indent=1) + "\n").encode())
    assert bob.finds()[-1] == "5 forged"


def test_a_record_signed_by_somebody_else_in_the_name_of_ann_is_forged(attacker, machine, ann, bob):
    mallory = load_signer(machine("mallory").home)
    plain = version.renumbered(attacker.reads(5), 5, 4)
    message = signature.state(plain, signature.Statement(ann.key, bob.store.config.store_id))
    attacker.writes(5, signature.attach(message, mallory._private.sign(message)))
    assert bob.finds()[-1] == "5 forged"


def test_a_record_without_its_signature_is_unsigned_where_nothing_came_after_it(attacker, bob):
    attacker.writes(5, version.renumbered(attacker.reads(5), 5, 4))
    assert bob.finds()[-1] == "5 unsigned"


def test_a_record_without_its_signature_is_replaced_where_the_next_one_is_signed(attacker, ann, bob):
    attacker.writes(3, version.renumbered(attacker.reads(3), 3, 2))
    assert bob.finds()[2] == "3 replaced"
    assert "another record was there, and exp/tag@4 was signed after it" in bob.tells()


def test_a_record_without_its_signature_is_replaced_where_this_machine_saw_it_signed(attacker, ann):
    attacker.writes(5, version.renumbered(attacker.reads(5), 5, 4))
    assert ann.finds()[-1] == "5 replaced"
    assert "this machine saw it on " in ann.tells()


def test_two_versions_that_were_exchanged_are_reordered(attacker, bob):
    attacker.swaps(2, 4)
    assert bob.finds() == ["1 good", "2 reordered", "3 good", "4 reordered", "5 good"]
    assert "in its place lies exp/tag@4" in bob.tells()


def test_two_versions_that_were_exchanged_and_given_each_others_number_are_forged(attacker, bob):
    second, fourth = attacker.reads(2), attacker.reads(4)
    attacker.writes(2, fourth.replace(b'"number": 4,\n "manifest"', b'"number": 2,\n "manifest"'))
    attacker.writes(4, second.replace(b'"number": 2,\n "manifest"', b'"number": 4,\n "manifest"'))
    assert bob.finds() == ["1 good", "2 forged", "3 good", "4 forged", "5 good"]


def test_an_older_version_in_the_place_of_the_newest_is_reordered(attacker, bob):
    attacker.writes(6, attacker.reads(2))
    assert bob.finds()[-1] == "6 reordered"


@pytest.mark.parametrize("folder", ["!", "0", "9"])
def test_a_signed_record_that_is_copied_into_a_folder_before_the_newest_is_no_version(attacker, bob, folder):
    beneath = attacker.path(1).parent / folder
    beneath.mkdir()
    (beneath / attacker.path(1).name).write_bytes(attacker.reads(1))
    with pytest.raises(CorruptError, match="no version record: move it away"):
        bob.finds()
    bob.store.require_signatures = True
    with pytest.raises(CorruptError, match="no version record: move it away"):
        resolve_vouched(bob.store, parse_spec("exp/tag"))


def test_a_version_that_was_dropped_is_named(attacker, bob):
    attacker.drops(3)
    assert bob.finds() == ["1 good", "2 good", "3 dropped", "4 good", "5 good"]
    assert "exp/tag@4 was signed after" in bob.tells()


def test_several_versions_that_were_dropped_are_named_together(attacker, bob):
    attacker.drops(1, 2, 4)
    assert bob.finds() == ["1 to 2 dropped", "3 good", "4 dropped", "5 good"]


def test_dropped_newest_versions_are_noticed_where_they_were_seen(attacker, ann):
    attacker.drops(4, 5)
    assert ann.finds() == ["1 good", "2 good", "3 good", "4 to 5 dropped"]
    assert "this machine saw it on " in ann.tells()
    assert ann.finds()[-1] == "4 to 5 dropped"  # looking does not make it forget


def test_dropped_newest_versions_are_not_noticed_where_they_were_never_seen(attacker, bob):
    attacker.drops(4, 5)
    assert bob.finds() == ["1 good", "2 good", "3 good"]


def test_an_artifact_that_is_gone_altogether_is_noticed(attacker, ann):
    attacker.drops(1, 2, 3, 4, 5)
    assert ann.finds() == ["1 to 5 dropped"]


def test_a_history_that_was_cut_off_and_continued_by_somebody_who_is_trusted_is_noticed(attacker, ann, bob):
    attacker.drops(4, 5)
    bob.captures("other", "and another")
    trust.add(ann.home, "bob", bob.key)
    bob.captures("a third")
    for _ in range(2):  # looking does not make it forget
        assert ann.finds() == ["1 good", "2 good", "3 good", "4 good", "5 replaced", "6 good"]


def test_who_goes_on_after_newest_versions_were_dropped_does_not_hide_it(attacker, ann):
    attacker.drops(4, 5)
    ann.captures("a", "b", "c", "d")
    for _ in range(2):
        assert ann.finds() == ["1 good", "2 good", "3 good", "4 good", "5 replaced", "6 good", "7 good"]
    assert ann.finds(limit=1) == ["7 good"]
    assert ann.finds()[4] == "5 replaced"


def test_the_signature_of_another_artifact_fits_nothing(attacker, ann, bob):
    ann.captures("x", artifact="exp/other")
    attacker.writes(1, attacker.reads(1, "exp/other"))
    assert bob.finds()[0] == "1 reordered"
    renamed = attacker.reads(1, "exp/other").replace(b'"tag": "other"', b'"tag": "tag"')
    attacker.writes(1, renamed)
    assert bob.finds()[0] == "1 forged"
    lines = renamed.split(b"\n")
    lines[-3] = attacker.reads(2).split(b"\n")[-3]
    attacker.writes(1, b"\n".join(lines))
    assert bob.finds()[0] == "1 forged"


def test_the_signature_of_another_store_does_not_count(attacker, machine, ann, bob, tmp_path):
    ann.store.close()
    ann.store = open_store(tmp_path / "other store", home=ann.home)
    ann.captures("x")
    record = next((tmp_path / "other store" / "versions" / "exp" / "tag").iterdir()).read_bytes()
    attacker.writes(1, record)
    assert bob.finds()[0] == "1 forged"
    assert "for another store" in bob.tells()


def test_another_store_in_the_place_of_this_one_is_noticed_where_something_signed_was_seen(
    team, attacker, machine, ann, bob, tmp_path
):
    """One that ann made as well, with an artifact of the same name: its signatures are good, and are for its id."""
    with open_store(tmp_path / "trials", home=ann.home) as trials:
        capture(trials, ann.work, "exp", "tag")
    team.rename(tmp_path / "kept")
    (tmp_path / "trials").rename(team)
    for one in (ann, bob):
        with open_store(team, home=one.home) as store:
            one.store = store
            store.require_signatures = True
            if one is bob:  # who never saw the other one
                assert one.finds() == ["1 good"]
                continue
            for use in (one.finds, lambda: resolve_vouched(store, parse_spec("exp/tag"))):
                with pytest.raises(CorruptError, match="is another store than the one whose signed versions") as caught:
                    use()
            Path(str(caught.value).rpartition(" ")[2]).unlink()
            assert one.finds() == ["1 good"]


def test_a_version_of_somebody_unknown_is_untrusted_and_its_words_count_for_nothing(attacker, machine, ann, bob):
    mallory = machine("mallory")
    mallory.captures("evil")
    assert bob.finds() == [*(f"{number} good" for number in range(1, 6)), "6 untrusted"]
    assert f"studio trust add NAME {mallory.key}" in bob.tells()
    plain = version.renumbered(attacker.reads(6), 6, 5)
    lie = signature.Predecessor(5, signature.RecordId(bytes(32)))
    attacker.writes(6, load_signer(mallory.home).sign(plain, bob.store.config.store_id, lie))
    assert bob.finds() == [*(f"{number} good" for number in range(1, 6)), "6 untrusted"]


def test_a_record_that_is_no_record_is_damaged(attacker, bob):
    attacker.writes(2, b"{}")
    attacker.writes(4, b"\x00\xff")
    assert bob.finds() == ["1 good", "2 damaged", "3 good", "4 damaged", "5 good"]


def test_a_jump_of_numbers_by_somebody_who_signs_nothing_drops_nothing(attacker, bob):
    row = json.loads(version.renumbered(attacker.reads(5), 900, 5))
    attacker.writes(900, (json.dumps(row, indent=1) + "\n").encode())
    assert bob.finds() == [*(f"{number} good" for number in range(1, 6)), "900 unsigned"]
    bob.captures("goes on")
    assert bob.finds()[-2:] == ["900 unsigned", "901 good"]


def test_a_limit_looks_at_the_newest_only(attacker, ann, bob):
    attacker.drops(2)
    assert bob.finds(limit=2) == ["4 good", "5 good"]
    assert bob.finds(limit=4) == ["1 good", "2 dropped", "3 good", "4 good", "5 good"]
