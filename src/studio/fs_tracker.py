"""Where a script finds its artifacts; see studio_cas.experiment.fs_tracker."""

from __future__ import annotations

from studio_cas.experiment.fs_tracker import (
    commit,
    get_artifact,
    get_artifact_cache,
    get_artifacts,
    get_blob_cache,
    get_experiment_key,
    get_model_directory,
    get_queue_directory,
    get_studio_home,
    get_tensorboard_dir,
    latest_checkpoint,
    setup_experiment,
)

__all__ = [
    "commit",
    "get_artifact",
    "get_artifact_cache",
    "get_artifacts",
    "get_blob_cache",
    "get_experiment_key",
    "get_model_directory",
    "get_queue_directory",
    "get_studio_home",
    "get_tensorboard_dir",
    "latest_checkpoint",
    "setup_experiment",
]
