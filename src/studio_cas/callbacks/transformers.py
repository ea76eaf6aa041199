"""For the Trainer of Hugging Face: `Trainer(…, callbacks=[CommitCheckpoints()])`, with its output in the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from studio_cas.callbacks.committing import commit_checkpoint

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class CommitCheckpoints(TrainerCallback):
    """Makes a version of artifact `tag` after each checkpoint that the trainer saved, in the first process alone."""

    def __init__(self, tag: str = "modeldir") -> None:
        self.tag = tag

    def on_save(
        self,
        args: TrainingArguments,  # noqa: ARG002  # inherited
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  # inherited
        **kwargs: Any,  # noqa: ARG002  # inherited
    ) -> None:
        """A checkpoint was saved, and older ones were removed."""
        if state.is_world_process_zero:
            commit_checkpoint(self.tag)
