"""The body of an upload holds exactly its parts, whatever their sizes, under a boundary that nobody can foresee."""

import asyncio

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio_cas.backends.gcs_upload import Multipart, checksum
from studio_cas.backends.upload import blocks

MIB = 1 << 20
sizes = st.lists(st.sampled_from([0, 1, 1000, 300_000, MIB - 1, MIB, MIB + 1, 3 * MIB + 7]), max_size=8)


@given(sizes)
def test_blocks_are_the_parts_joined_or_cut(lengths):
    parts = [bytes([number]) * length for number, length in enumerate(lengths)]
    given_ = list(blocks([memoryview(part) for part in parts]))
    assert b"".join(given_) == b"".join(parts)
    assert all(MIB <= len(block) < 2 * MIB for block in given_[:-1])


def sent(body):
    class Writer:
        def __init__(self):
            self.content = b""

        async def write(self, block):
            self.content += block

    writer = Writer()
    asyncio.run(body.write(writer))
    return writer.content


def test_the_body_has_the_announced_size_and_a_new_boundary():
    one, two = Multipart("a", [b"x" * 10, b"y"]), Multipart("a", [b"x" * 10, b"y"])
    assert one.size == len(sent(one))
    assert one.content_type != two.content_type
    assert b"x" * 10 + b"y" in sent(one)
    assert sent(one) == sent(one)
    assert one.decode().encode() == sent(one)


def test_the_checksum_is_the_known_one(monkeypatch):
    parts = [b"1234", bytearray(b"56789")]
    assert checksum(parts) == {"crc32c": "4waSgw=="}  # RFC 3720 gives e3069283 for these digits
    monkeypatch.setattr(google_crc32c, "implementation", "python")
    assert checksum(parts) == {"md5Hash": "JfnnlDI7RTiF9RgfG2JNCw=="}  # 25f9e794…4d0b


def test_an_answer_is_compared_with_what_was_sent():
    body = Multipart("a", [b"123456789"])
    assert body.arrived_whole({"size": "9", "crc32c": "4waSgw==", "md5Hash": "whatever"})
    assert body.arrived_whole({"size": "9"})
    assert not body.arrived_whole({"size": "8", "crc32c": "4waSgw=="})
    assert not body.arrived_whole({"size": "9", "crc32c": "AAAAAA=="})
    assert not body.arrived_whole({})


def test_a_peer_that_takes_nothing_more_is_given_up():
    class Stuck:
        taken = 0

        async def write(self, block):
            self.taken += len(block)
            if self.taken > MIB:
                await asyncio.Event().wait()

    writer = Stuck()
    with pytest.raises(TimeoutError):
        asyncio.run(Multipart("a", [bytes(3 * MIB)], patience=0.01).write(writer))
    assert writer.taken > MIB
