"""For Lightning: `Trainer(…, callbacks=[CommitCheckpoints()])`; its place among the callbacks does not matter.

Lightning has no hook for "a checkpoint was saved", and calls callbacks before the one that saves. Everything that saves
goes through `Trainer.save_checkpoint`, whatever the strategy, so that is where we listen.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

try:
    from lightning.pytorch import Callback
except ImportError:  # the same library under its other name
    from pytorch_lightning import Callback

from studio_cas.callbacks.committing import commit_checkpoint

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class CommitCheckpoints(Callback):
    """Makes a version of artifact `tag` after each checkpoint that the trainer saved, in the first process alone."""

    def __init__(self, tag: str = "modeldir") -> None:
        super().__init__()
        self.tag = tag

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002  # inherited
        """Listen from now on."""
        save = trainer.save_checkpoint

        @wraps(save)
        def save_and_commit(*arguments: Any, **options: Any) -> None:
            save(*arguments, **options)
            if trainer.is_global_zero:
                commit_checkpoint(self.tag)

        trainer.save_checkpoint = save_and_commit

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002  # inherited
        """Listen no more."""
        vars(trainer).pop("save_checkpoint", None)
