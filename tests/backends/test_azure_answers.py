"""Azure's answers are read as it writes them."""

import pytest
from multidict import CIMultiDict

from studio_cas.backends.azure_answers import read_page, read_refusal
from studio_cas.backends.base import ObjectStat

MOMENT = 1_767_323_045  # Fri, 02 Jan 2026 03:04:05 GMT
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
BLOB = (
    "<Blob><Name{}>{}</Name><Properties><Content-Length>7</Content-Length>"
    f"<Last-Modified>{DATE}</Last-Modified></Properties></Blob>"
)


def page(*blobs, marker="<NextMarker />"):
    listing = f"<EnumerationResults><Blobs>{''.join(blobs)}</Blobs>{marker}</EnumerationResults>"
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?>{listing}'.encode()


def test_a_page_has_names_sizes_times_and_what_follows():
    folder = "<BlobPrefix><Name>c/</Name></BlobPrefix>"
    found = read_page(page(BLOB.format("", "a&amp;b"), folder, marker="<NextMarker>2!x</NextMarker>"))
    assert found.objects == [ObjectStat("a&b", 7, MOMENT)]
    assert (found.folders, found.token) == (["c/"], "2!x")
    assert read_page(page()).token == ""


def test_a_name_that_xml_can_not_hold_is_decoded():
    found = read_page(page(BLOB.format(' Encoded="true"', "a%EF%BF%BE%2Fb"), BLOB.format("", "100%25")))
    assert [stat.key for stat in found.objects] == ["a\ufffe/b", "100%25"]


@pytest.mark.parametrize(
    "content", [b"", b"<html/>", page(BLOB.format("", ""))[:-20], page("<Blob/>"), page(BLOB.format("", ""))]
)
def test_what_is_no_whole_page_is_none(content):
    with pytest.raises(ValueError):
        read_page(content)


def refused(code, status=403, detail="", date=DATE, now=MOMENT):
    body = f"<Error><Code>{code}</Code><Message>It is so.\nRequestId:1\nTime:2</Message>{detail}</Error>".encode()
    return read_refusal(status, CIMultiDict({"date": date}), body, clock=lambda: now)


def test_a_refusal_says_the_first_line_and_nothing_of_the_signature():
    detail = "<AuthenticationErrorDetail>The MAC signature 'SECRET' is not the same</AuthenticationErrorDetail>"
    found = refused("AuthenticationFailed", detail=detail)
    assert (found.message, found.means) == ("It is so.", "denied")
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize("seconds", [-1200, 1200])
def test_a_clock_that_is_off_is_told(seconds):
    assert refused("AuthenticationFailed", now=MOMENT + seconds).advice == "set this machine's clock"
    assert "key is wrong" in refused("AuthenticationFailed", now=MOMENT + seconds / 4).advice


@pytest.mark.parametrize(
    ("status", "code", "means"),
    [
        (409, "BlobAlreadyExists", "exists"),
        (412, "ConditionNotMet", "exists"),
        (403, "UnauthorizedBlobOverwrite", "exists"),
        (409, "ContainerBeingDeleted", "passing"),
        (400, "Md5Mismatch", "passing"),
        (503, "ServerBusy", "passing"),
        (409, "ContainerAlreadyExists", "other"),
        (409, "BlobArchived", "other"),
    ],
)
def test_a_code_says_what_follows(status, code, means):
    assert refused(code, status).means == means


def test_an_answer_without_a_body_has_its_code_in_a_header():
    found = read_refusal(404, CIMultiDict({"X-Ms-Error-Code": "BlobNotFound"}), b"")
    assert (found.reason, found.message) == ("BlobNotFound", "BlobNotFound")
