"""The body of an upload to S3 is read to be signed, and sent, as often as it takes."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio_cas.backends.s3_upload import Body
from studio_cas.backends.upload import md5

MIB = 1 << 20
sizes = st.lists(st.sampled_from([0, 1, 1000, MIB - 1, MIB, MIB + 1]), max_size=6)


@given(sizes)
def test_it_reads_like_a_file_as_often_as_it_is_rewound(lengths):
    parts = [bytes([number]) * length for number, length in enumerate(lengths)]
    whole = b"".join(parts)
    body = Body([memoryview(part) for part in parts])
    assert (len(body), bool(body)) == (len(whole), True)
    for _ in range(2):
        assert body.seek(0) == 0
        assert b"".join(iter(lambda: bytes(body.read(MIB)), b"")) == whole
        assert body.tell() == len(whole)
    body.seek(0)
    assert body.read() == whole
    assert body.read() == b""


def test_it_is_only_read_from_its_begin():
    body = Body([b"123", b"456"])
    assert body.seek(0, os.SEEK_CUR) == 0
    body.read()
    assert body.seek(0, os.SEEK_END) == 6
    with pytest.raises(OSError, match="begin"):
        body.seek(2)


def test_the_checksum_is_the_known_one():
    assert md5([b"1234", bytearray(b"56789")]) == "JfnnlDI7RTiF9RgfG2JNCw=="  # 25f9e794…4d0b
    assert md5([io.BytesIO(b"").getbuffer()]) == "1B2M2Y8AsgTpgAmY7PhCfg=="
