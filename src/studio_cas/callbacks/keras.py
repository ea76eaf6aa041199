"""For Keras 3: `model.fit(…, callbacks=[ModelCheckpoint(…), CommitCheckpoints()])`, after the one that saves."""

from __future__ import annotations

from typing import Any

from keras.callbacks import Callback

from studio_cas.callbacks.committing import commit_checkpoint


class CommitCheckpoints(Callback):
    """Makes a version of artifact `tag` after each epoch, and at the end; none where nothing was saved."""

    def __init__(self, tag: str = "modeldir") -> None:
        super().__init__()
        self.tag = tag

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002  # inherited
        """An epoch is over; callbacks before this one have saved."""
        commit_checkpoint(self.tag)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002  # inherited
        """The training is over, or was stopped early."""
        commit_checkpoint(self.tag)
