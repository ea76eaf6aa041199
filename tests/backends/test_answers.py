"""What a service asks for when it refuses."""

import pytest

from studio_cas.backends.answers import seconds_to_wait

NOW = 1_792_567_680.0  # Wed, 21 Oct 2026 07:28:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0.0),
        ({"RETRY-AFTER": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:10 GMT"}, 20.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 -0000", "Date": "yesterday"}, 30.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Content-Length": "7"}, None),
    ],
)
def test_how_long_to_wait(headers, seconds):
    assert seconds_to_wait(headers, lambda: NOW) == seconds
