"""Read buffers: shared, held, used again, and never while somebody looks into them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.store.arena import BUFFER_SIZE, CROWDED, SHARE_ABOVE, Arena


def take(arena, wanted):
    buffer, space = arena.space(wanted)
    buffer.used += len(space)
    return buffer, space


def test_small_requests_share_a_buffer():
    arena = Arena()
    first, one = take(arena, 1000)
    second, other = take(arena, 1000)
    assert first is second
    one[:] = b"1" * 1000
    other[:] = b"2" * 1000
    assert bytes(first.view[:2000]) == b"1" * 1000 + b"2" * 1000


def test_a_large_request_takes_what_is_left_where_that_is_worth_it():
    arena = Arena()
    first, _ = take(arena, BUFFER_SIZE - SHARE_ABOVE)
    first.hold()
    second, space = take(arena, BUFFER_SIZE)
    assert (second is first, len(space)) == (True, SHARE_ABOVE)
    third, space = take(arena, BUFFER_SIZE)
    assert (third is first, len(space)) == (False, BUFFER_SIZE)


def test_a_buffer_is_used_again_when_the_last_holder_lets_go():
    arena = Arena()
    buffer, _ = take(arena, BUFFER_SIZE)
    buffer.hold()
    buffer.hold()
    other, _ = take(arena, BUFFER_SIZE)  # the arena lets go of the first
    assert other is not buffer
    other.hold()
    buffer.release()
    assert arena.free == []
    buffer.release()
    assert arena.free == [buffer]
    again, space = take(arena, BUFFER_SIZE)
    assert (again is buffer, len(space)) == (True, BUFFER_SIZE)
    assert arena.made == 2


@pytest.mark.parametrize("many", [CROWDED, 2])
def test_a_buffer_is_crowded_when_many_are_in_use(many):
    arena = Arena(many)
    held = []
    while len(held) <= many:
        buffer, _ = take(arena, BUFFER_SIZE)
        buffer.hold()
        held.append(buffer)
    assert held[0].crowded
    held[0].release()
    assert not held[1].crowded


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, BUFFER_SIZE), st.integers(0, 3)), max_size=12))
def test_no_space_that_is_held_is_given_twice(requests):
    arena = Arena()
    held = []
    for wanted, let_go in requests:
        buffer, space = arena.space(wanted)
        assert 0 < len(space) <= wanted
        start = buffer.used
        buffer.hold()
        buffer.used += len(space)
        for other, begin, end in held:
            assert other is not buffer or end <= start or start + len(space) <= begin
        held.append((buffer, start, start + len(space)))
        for _ in range(min(let_go, len(held))):
            held.pop(0)[0].release()
