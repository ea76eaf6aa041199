"""The configuration: `~/.studioml/config.yaml`, the environment, and where each value came from."""

from __future__ import annotations

from studio_cas.config.home import studio_home
from studio_cas.config.loading import load_config
from studio_cas.config.opening import backend_of, open_configured_store
from studio_cas.config.settings import DEFAULT_ARTIFACTS, Config, Setting, Storage

__all__ = [
    "DEFAULT_ARTIFACTS",
    "Config",
    "Setting",
    "Storage",
    "backend_of",
    "load_config",
    "open_configured_store",
    "studio_home",
]
