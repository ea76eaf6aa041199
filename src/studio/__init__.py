"""`from studio import fs_tracker`: where a script finds its artifacts. Everything else is in studio_cas."""

from __future__ import annotations

from studio import fs_tracker

__all__ = ["fs_tracker"]


def __getattr__(name: str) -> object:
    """What studio_cas has under that name; it is imported when it is asked for."""
    import studio_cas

    try:
        return getattr(studio_cas, name)
    except AttributeError as error:
        raise AttributeError(f"module 'studio' has no attribute {name!r}") from error
