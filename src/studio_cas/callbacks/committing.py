"""What all callbacks do once a checkpoint was saved."""

from __future__ import annotations

import os
import warnings

from studio_cas.errors import StudioError
from studio_cas.experiment import fs_tracker

TIMEOUT = 60.0  # seconds that a training waits for its store; the daemon goes on, and the end of the run captures too


def commit_checkpoint(tag: str) -> None:
    """Make a version of artifact `tag` now. What goes wrong is a warning: it must not end a training.

    Outside `studio run` nothing is done: there a script is tried out.
    """
    if not os.environ.get(fs_tracker.MAPPING_VARIABLE):
        return
    try:
        fs_tracker.commit(tag, timeout=TIMEOUT)
    except StudioError as error:
        warnings.warn(f"studio: the checkpoint in {tag} is not in the store yet: {error}", stacklevel=2)
