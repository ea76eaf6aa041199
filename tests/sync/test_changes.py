"""What changed since somebody last asked."""

from studio_cas.sync.changes import LIMIT, Changes


def test_nothing_changed_at_first():
    assert Changes().take() == frozenset()


def test_paths_are_given_once():
    changes = Changes()
    assert changes.add("a")
    assert not changes.add("b")
    assert not changes.add("a")
    assert changes.take() == {"a", "b"}
    assert changes.take() == frozenset()
    assert changes.add("a")


def test_everything_swallows_paths():
    changes = Changes()
    changes.add("a")
    assert not changes.add_everything()
    changes.add("b")
    assert changes.take() is None
    assert changes.take() == frozenset()
    assert changes.add_everything()


def test_very_many_paths_are_everything():
    changes = Changes()
    for number in range(LIMIT + 1):
        changes.add(str(number))
    assert changes.take() is None
