"""Small packs stay in memory, the newest of them, and never more bytes than allowed."""

from studio_cas.ids import PackId
from studio_cas.store.recent import PACK_LIMIT, RecentPacks

FIRST, SECOND, THIRD = (PackId(bytes([number]) * 16) for number in range(3))


def test_what_is_kept_is_read_in_parts():
    recent = RecentPacks()
    recent.keep(FIRST, [b"header", memoryview(b"chunk")])
    assert recent.read(FIRST, 4, 4) == b"erch"
    assert recent.read(SECOND, 0, 1) is None


def test_the_oldest_go_first():
    recent = RecentPacks(limit=10)
    for pack in (FIRST, SECOND, THIRD):
        recent.keep(pack, [b"1234"])
    assert [recent.read(pack, 0, 9) for pack in (FIRST, SECOND, THIRD)] == [None, b"1234", b"1234"]


def test_what_was_merged_makes_room():
    recent = RecentPacks(limit=10)
    recent.keep(FIRST, [b"12345"])
    recent.keep(SECOND, [b"12345"])
    recent.drop(SECOND)
    recent.drop(SECOND)
    recent.keep(THIRD, [b"12345"])
    assert [recent.read(pack, 0, 9) for pack in (FIRST, SECOND, THIRD)] == [b"12345", None, b"12345"]


def test_a_large_pack_is_not_kept():
    recent = RecentPacks()
    recent.keep(FIRST, [bytes(PACK_LIMIT), b"1"])
    assert recent.read(FIRST, 0, 1) is None
