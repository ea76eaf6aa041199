"""What a script asks: where are my artifacts? The same answer on every machine, with the names of the original.

Under `studio run` the artifacts are those of the run. Outside of it the experiment is called `default`, and every tag
is a folder under the home, made when it is asked for; so a script needs no other code for being tried out.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from studio_cas.config.home import HOME_VARIABLE, blobcache_folder, experiment_folder, studio_home
from studio_cas.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

EXPERIMENT_VARIABLE = "STUDIOML_EXPERIMENT"
MAPPING_VARIABLE = "STUDIOML_ARTIFACT_MAPPING"
DEFAULT_EXPERIMENT = "default"
_EXPERIMENT_KEY = re.compile(r"experiments/([^/]+)/(.+?)(?:\.tar(?:\.[^./]*)?)?")
_BLOB_KEY = re.compile(r"(?:blobstore/)?([^/]+?)(?:\.tar(?:\.[^./]*)?)?")


def get_experiment_key() -> str:
    """The name of the experiment; `default` outside `studio run`."""
    return os.environ.get(EXPERIMENT_VARIABLE) or DEFAULT_EXPERIMENT


def get_studio_home() -> str:
    """The home of studio on this machine: `$STUDIOML_HOME`, or `~/.studioml`."""
    return str(studio_home())


def get_artifact(tag: str) -> str:
    """The folder (or file) of artifact `tag` of this run.

    Outside `studio run`: a folder of the default experiment, made where it is missing. Raises NotFoundError, which
    names the artifacts there are, when the run has no such artifact.
    """
    mapping = _mapping()
    if mapping is None:
        return _made(_folder(tag, get_experiment_key()))
    if tag not in mapping:
        raise NotFoundError(_unknown(tag, mapping))
    return mapping[tag]


def get_artifacts() -> dict[str, str]:
    """Every artifact of this run: tag to path. Outside `studio run`: the folders that the default experiment has."""
    mapping = _mapping()
    if mapping is not None:
        return dict(mapping)
    try:
        with os.scandir(experiment_folder(studio_home(), get_experiment_key())) as entries:
            folders = {entry.name: entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
    except FileNotFoundError:
        return {}
    return dict(sorted(folders.items()))


def commit(tag: str, timeout: float = 600.0) -> str:
    """Make a version of artifact `tag` now, and return its name, `exp/tag@7`, when it is in the store.

    It holds what the files hold at the time of the call; files that are still open for writing keep their earlier
    content. In a run, or beside `studio sync`, the daemon makes it; else another process does. Raises TransientError
    when the daemon has made none in `timeout` seconds, and what a capture raises.
    """
    from pathlib import Path

    from studio_cas.sync import barrier

    return barrier.commit(studio_home(), Path(get_artifact(tag)), get_experiment_key(), tag, timeout)


def latest_checkpoint(tag: str = "modeldir") -> Path | None:
    """The newest complete checkpoint in artifact `tag`, a file or a folder, for resuming; None where there is none.

    Known are those of PyTorch, safetensors, Keras, Lightning, Hugging Face Trainer and torch.distributed.checkpoint; of
    other files but databases, the newest that nobody writes. One that was cut off by a crash is passed over.
    """
    from pathlib import Path

    from studio_cas.worktree.checkpoints import newest_checkpoint

    return newest_checkpoint(Path(get_artifact(tag)))


def get_model_directory(experiment_name: str | None = None) -> str:
    """The folder for checkpoints of this experiment, or of another one of this machine; it exists."""
    return _made(get_artifact_cache("modeldir", experiment_name))


def get_tensorboard_dir(experiment_name: str | None = None) -> str:
    """The folder for TensorBoard's logs of this experiment, or of another one of this machine; it exists."""
    return _made(get_artifact_cache("tb", experiment_name))


def get_artifact_cache(tag: str, experiment_name: str | None = None) -> str:
    """Where this machine keeps artifact `tag` of an experiment; it need not exist.

    `tag` may also be a key of the original, as `experiments/NAME/TAG.tar.gz` or `blobstore/ID.tar.gz`.
    """
    if tag.startswith("blobstore/"):
        return get_blob_cache(tag)
    if match := _EXPERIMENT_KEY.fullmatch(tag):
        experiment_name, tag = match[1], match[2]
    name = experiment_name or get_experiment_key()
    mapping = _mapping() or {}
    if name == get_experiment_key() and tag in mapping:
        return mapping[tag]
    return _folder(tag, name)


def get_blob_cache(blobkey: str) -> str:
    """Where this machine keeps the artifact with that manifest id; it need not exist. The folder above it does."""
    match = _BLOB_KEY.fullmatch(blobkey)
    if not match or match[1] in {".", ".."}:
        raise UsageError(f"{blobkey!r} is not the id of an artifact in the blobcache")
    return os.path.join(_made(str(blobcache_folder(studio_home()))), match[1])  # noqa: PTH118  # texts, as promised


def get_queue_directory() -> str:
    """The folder of the local queue; it exists."""
    return _made(str(studio_home() / "queue"))


def setup_experiment(env: MutableMapping[str, str], experiment: object, clean: bool = True) -> None:  # noqa: FBT001, FBT002
    """Prepare `env` for a process that belongs to `experiment`, and make its model folder, emptied with `clean`.

    `experiment` is a name, or an object with `key`, and `artifacts` whose values have `local_path`.
    """
    key = experiment if isinstance(experiment, str) else str(experiment.key)  # type: ignore[attr-defined]
    model_folder = _folder("modeldir", key)
    if clean and os.path.isdir(model_folder) and not os.path.islink(model_folder):  # noqa: PTH112, PTH114
        import shutil

        shutil.rmtree(model_folder)
    paths = {tag: art.local_path for tag, art in getattr(experiment, "artifacts", {}).items() if art.local_path}
    mapping = {"modeldir": _made(model_folder), "tb": _made(_folder("tb", key)), **paths}
    env.update(child_environment(studio_home(), key, mapping))


def child_environment(home: Path, experiment: str, mapping: dict[str, str]) -> dict[str, str]:
    """The variables through which a script finds its artifacts; `mapping` is tag to path."""
    return {
        EXPERIMENT_VARIABLE: experiment,
        MAPPING_VARIABLE: json.dumps(mapping, sort_keys=True),
        HOME_VARIABLE: str(home),
    }


def _mapping() -> dict[str, str] | None:
    """The artifacts of this run, None outside of one. The original's variable names a file with the same JSON."""
    text = os.environ.get(MAPPING_VARIABLE)
    if not text:
        return None
    try:
        if not text.lstrip().startswith("{"):
            with open(text, encoding="utf-8") as file:  # noqa: PTH123  # this module stays free of imports
                text = file.read()
        return {str(tag): str(path) for tag, path in json.loads(text).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"the variable {MAPPING_VARIABLE} does not hold the artifacts of a run: {error}") from error


def _folder(tag: str, experiment: str) -> str:
    from studio_cas.formats.keys import check_name

    folder = experiment_folder(studio_home(), check_name(experiment, "an experiment"))
    return str(folder / check_name(tag, "an artifact"))


def _made(folder: str) -> str:
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # texts, as promised
    return folder


def _unknown(tag: str, mapping: dict[str, str]) -> str:
    from studio_cas.config.spelling import did_you_mean

    known = ", ".join(sorted(mapping)) or "none"
    return f"this run has no artifact {tag!r}{did_you_mean(str(tag), mapping)}; its artifacts are: {known}"
