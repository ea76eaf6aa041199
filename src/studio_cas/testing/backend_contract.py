"""What every backend must do, as tests: inherit `BackendContract` and give it a fixture `backend`, an empty store."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from studio_cas.backends.base import Backend
from studio_cas.errors import NotFoundError, ObjectExistsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio_cas.ids import Buffer

WRITERS = 16
BAD_KEYS = ("", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.b", "a b", "a\0b", "a\nb", "ä", "a\\b")
LISTED = ("a", "b-c/x", "b/x", "b/y/1", "b/y/2", "b/z", "b0", "c/d")  # in order: '-' < '/' < '0'


def fill(backend: Backend, *keys: str) -> None:
    """Create every key with itself as content."""
    for key in keys:
        backend.create(key, [key.encode()])


def race(work: Callable[[int], bool], threads: int = WRITERS) -> int:
    """Run `work` in that many threads at the same moment; how many gave True."""
    barrier = threading.Barrier(threads)

    def one(number: int) -> bool:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, range(threads)))


class BackendContract:
    """The tests. A subclass may lower `rounds` where a round costs many requests."""

    rounds = 40

    def test_it_is_a_backend_with_a_url(self, backend: Backend) -> None:
        """The port's shape."""
        assert isinstance(backend, Backend)
        assert backend.url

    def test_preparing_twice_is_harmless(self, backend: Backend) -> None:
        """`prepare` is idempotent, and keeps what is there."""
        fill(backend, "a")
        backend.prepare()
        backend.prepare()
        assert bytes(backend.read("a")) == b"a"

    def test_an_object_is_the_concatenation_of_its_parts(self, backend: Backend) -> None:
        """Parts of every kind of buffer, more of them than one system call takes, some empty."""
        parts: list[Buffer] = [
            b"ab",
            bytearray(b"cd"),
            memoryview(b"xefx")[1:3],
            b"",
            *(b"%d," % n for n in range(5000)),
            b"",
        ]
        backend.create("packs/00/x", parts)
        assert bytes(backend.read("packs/00/x")) == b"".join(parts)

    @pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
    def test_an_object_may_be_empty(self, backend: Backend, parts: list[bytes]) -> None:
        """Nothing is a content too."""
        backend.create("empty", parts)
        assert bytes(backend.read("empty")) == b""
        assert bytes(backend.read("empty", 0, 10)) == b""
        assert backend.read_tail("empty", 10) == (b"", 0)
        assert backend.stat("empty").size == 0
        assert [found.key for found in backend.list("")] == ["empty"]

    def test_content_may_look_like_an_upload_boundary(self, backend: Backend) -> None:
        """A fixed boundary cut such objects short on two servers."""
        content = b"start\n--==0==--\r\n--==0==\r\nContent-Type: x\r\n\r\nend\r\n--" + bytes(range(256))
        backend.create("a", [content])
        assert bytes(backend.read("a")) == content
        assert backend.stat("a").size == len(content)

    def test_an_object_of_32_mib_comes_back(self, backend: Backend) -> None:
        """One pack, in pieces, read whole and by ranges."""
        pieces = [random.Random(n).randbytes(1 << 20) for n in range(32)]  # noqa: S311 - equal in every run
        backend.create("packs/01/large", pieces)
        assert bytes(backend.read("packs/01/large")) == b"".join(pieces)
        assert bytes(backend.read("packs/01/large", 17 << 20, 2 << 20)) == pieces[17] + pieces[18]
        tail, size = backend.read_tail("packs/01/large", 1 << 20)
        assert (bytes(tail), size) == (pieces[31], 32 << 20)

    def test_what_exists_is_not_overwritten(self, backend: Backend) -> None:
        """Whatever the content, the same included."""
        backend.create("a", [b"first"])
        for content in (b"second", b"first", b""):
            with pytest.raises(ObjectExistsError):
                backend.create("a", [content])
        assert bytes(backend.read("a")) == b"first"

    def test_of_many_writers_exactly_one_wins(self, backend: Backend) -> None:
        """Sixteen threads create the same key at the same moment; what is stored is the winner's."""
        for round_ in range(self.rounds):
            key = f"race/{round_ % 7}/{round_}"
            winners: list[int] = []

            def create(number: int, key: str = key, winners: list[int] = winners) -> bool:
                try:
                    backend.create(key, [b"%d" % number] * 100)
                except ObjectExistsError:
                    return False
                winners.append(number)
                return True

            assert race(create) == 1
            assert bytes(backend.read(key)) == b"%d" % winners[0] * 100

    def test_readers_see_a_whole_object_or_none(self, backend: Backend) -> None:
        """A reader polls while a writer creates."""
        content = b"x" * 300_000
        for round_ in range(max(3, self.rounds // 10)):
            created = threading.Event()

            def poll(key: str = f"poll/{round_}", created: threading.Event = created) -> None:
                while not created.is_set():
                    try:
                        assert bytes(backend.read(key)) == content
                    except NotFoundError:
                        assert [found.size for found in backend.list(key)] in ([], [len(content)])

            with ThreadPoolExecutor(3) as pool:
                polls = [pool.submit(poll) for _ in range(3)]
                backend.create(f"poll/{round_}", [content[:1000], content[1000:]])
                created.set()
                for one in polls:
                    one.result()

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, None), (0, 0), (0, 10), (3, 4), (3, None), (9, 1), (9, 100), (10, None), (10, 5), (50, None), (50, 5)],
    )
    def test_ranges_read_like_slices(self, backend: Backend, offset: int, length: int | None) -> None:
        """A range beyond the end gives what there is."""
        backend.create("a", [b"0123456789"])
        end = None if length is None else offset + length
        assert bytes(backend.read("a", offset, length)) == b"0123456789"[offset:end]

    @pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 1000])
    def test_a_tail_comes_with_the_whole_size(self, backend: Backend, length: int) -> None:
        """At most the whole object."""
        backend.create("a", [b"0123456789"])
        tail, size = backend.read_tail("a", length)
        assert (bytes(tail), size) == (b"0123456789"[max(0, 10 - length) :], 10)

    def test_a_missing_object_is_not_found(self, backend: Backend) -> None:
        """Also where only a longer key exists."""
        fill(backend, "folder/object")
        for key in ("nothing", "folder", "folder/objec", "folder/object/below", "none/at/all"):
            for request in (backend.read, backend.stat, backend.delete):
                with pytest.raises(NotFoundError, match=key):
                    request(key)
            with pytest.raises(NotFoundError, match=key):
                backend.read_tail(key, 10)
            with pytest.raises(NotFoundError, match=key):
                backend.read(key, 5, 5)

    def test_stat_gives_size_and_time(self, backend: Backend) -> None:
        """Times order objects, by the store's clock."""
        backend.create("a", [b"12345"])
        found = backend.stat("a")
        assert (found.key, found.size) == ("a", 5)
        assert found.created > 1_600_000_000

    def test_a_listing_is_in_order_of_keys(self, backend: Backend) -> None:
        """Plain string order: `b-c/x` before `b/x`."""
        fill(backend, *reversed(LISTED))
        listed = list(backend.list(""))
        assert tuple(found.key for found in listed) == LISTED
        assert [found.size for found in listed] == [len(key) for key in LISTED]
        assert all(found.created > 1_600_000_000 for found in listed)

    @pytest.mark.parametrize(
        "prefix", ["a", "b", "b/", "b-", "b/y", "b/y/", "b/y/1", "c/d", "c/d/", "z", "b/y/1/2", "no/"]
    )
    def test_a_prefix_is_a_plain_string(self, backend: Backend, prefix: str) -> None:
        """It may end anywhere in a key."""
        fill(backend, *LISTED)
        assert [found.key for found in backend.list(prefix)] == [key for key in LISTED if key.startswith(prefix)]

    @pytest.mark.parametrize("limit", [0, 1, 3, 8, 100])
    def test_a_limit_gives_the_first_ones(self, backend: Backend, limit: int) -> None:
        """With and without a prefix."""
        fill(backend, *LISTED)
        assert [found.key for found in backend.list("", limit)] == list(LISTED[:limit])
        assert [found.key for found in backend.list("b/", limit)] == list(LISTED[2:6][:limit])

    @pytest.mark.parametrize(
        ("prefix", "names"),
        [
            ("", ["a", "b", "b-c", "b0", "c"]),
            ("b/", ["x", "y", "z"]),
            ("b/y/", ["1", "2"]),
            ("none/", []),
            ("b/x/", []),
        ],
    )
    def test_names_are_the_next_segments(self, backend: Backend, prefix: str, names: list[str]) -> None:
        """Each once, in order, whether an object or a folder."""
        fill(backend, *LISTED)
        assert list(backend.list_names(prefix)) == names

    def test_a_deleted_object_is_gone_and_may_be_created_again(self, backend: Backend) -> None:
        """Its folder's name goes with its last object."""
        fill(backend, "f/g/a", "f/b")
        backend.delete("f/g/a")
        with pytest.raises(NotFoundError):
            backend.read("f/g/a")
        with pytest.raises(NotFoundError):
            backend.delete("f/g/a")
        assert [found.key for found in backend.list("")] == ["f/b"]
        assert list(backend.list_names("f/")) == ["b"]
        backend.create("f/g/a", [b"again"])
        assert bytes(backend.read("f/g/a")) == b"again"

    def test_creating_beside_deletion_of_the_last_neighbour_works(self, backend: Backend) -> None:
        """A folder that is removed because it became empty does not take a writer with it."""
        for round_ in range(self.rounds):

            def work(number: int, round_: int = round_) -> bool:
                key = f"busy/{round_ % 2}/{number}-{round_}"
                backend.create(key, [b"1"])
                backend.delete(key)
                return True

            assert race(work, 4) == 4
        assert list(backend.list("")) == []
        assert list(backend.list_names("")) == []

    def test_many_threads_work_on_many_objects(self, backend: Backend) -> None:
        """Each reads back what it wrote."""

        def work(number: int) -> bool:
            for step in range(max(4, self.rounds // 6)):
                content = [b"%d-%d" % (number, step)] * (1 + 997 * step)
                key = f"many/{step % 3}/{number}-{step}"
                backend.create(key, content)
                assert bytes(backend.read(key, 0, 7)) == b"".join(content)[:7]
                assert bytes(backend.read_tail(key, 3)[0]) == b"".join(content)[-3:]
                assert backend.stat(key).size == sum(map(len, content))
            return True

        assert race(work) == WRITERS
        assert len(list(backend.list("many/"))) == WRITERS * max(4, self.rounds // 6)

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_keys_that_lead_elsewhere_are_refused(self, backend: Backend, key: str) -> None:
        """Nothing is asked of the store."""
        for request in (backend.read, backend.stat, backend.delete):
            with pytest.raises(UsageError):
                request(key)
        with pytest.raises(UsageError):
            backend.create(key, [b"x"])
        assert list(backend.list("")) == []

    def test_prefixes_that_lead_elsewhere_are_refused(self, backend: Backend) -> None:
        """In both listings; a folder's prefix ends in a slash."""
        for prefix in ("/", "../", "a//", "a/./", "a\n"):
            with pytest.raises(UsageError):
                list(backend.list(prefix))
            with pytest.raises(UsageError):
                list(backend.list_names(prefix))
        with pytest.raises(UsageError):
            list(backend.list_names("a"))
