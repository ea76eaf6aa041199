"""Builds the compiled loops of `src/studio_cas/native/` into the wheel, where a C compiler is found.

Where there is none, or it fails, or the system is neither Linux nor macOS, the wheel is made without them: everything
works, more slowly. CC, CFLAGS and LDFLAGS are honoured; STUDIO_NATIVE=0 builds nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "src/studio_cas/native"
LIBRARY = "studio_native.so"
PLATFORMS = ("linux", "darwin")
FLAGS = ("-O3", "-std=c99", "-D_GNU_SOURCE", "-fPIC", "-shared", "-fvisibility=hidden")


def compile_library(folder: Path, target: Path) -> str:
    """Compile the C files in `folder` to `target`; what went wrong, in a line, or nothing."""
    if os.environ.get("STUDIO_NATIVE") == "0":
        return "STUDIO_NATIVE=0"
    if not sys.platform.startswith(PLATFORMS):
        return f"no {sys.platform} among {', '.join(PLATFORMS)}"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        return f"no C compiler {os.environ.get('CC', 'cc')!r}: set CC, or install one"
    extra, libraries = (shlex.split(os.environ.get(name, "")) for name in ("CFLAGS", "LDFLAGS"))
    sources = sorted(map(str, folder.glob("*.c")))
    made = target.with_name(f"{target.name}.{os.getpid()}")
    command = [*compiler, *FLAGS, *extra, "-o", str(made), *sources, *libraries, "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{compiler[0]}: {error.strerror}"
    if done.returncode or not made.exists():
        made.unlink(missing_ok=True)
        said = done.stderr.strip().splitlines()
        return f"{shlex.join(compiler)} failed: {said[0] if said else f'exit code {done.returncode}'}"
    made.replace(target)  # a process that has the old one open keeps it
    return ""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the library to a wheel; an editable installation gets it in the source folder."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say in one line where that is not possible."""
        folder = Path(self.root, FOLDER)
        self._temporary = tempfile.TemporaryDirectory()
        beside = version == "editable"
        target = folder / LIBRARY if beside else Path(self._temporary.name, LIBRARY)
        failure = compile_library(folder, target)
        if failure:
            if beside:
                target.unlink(missing_ok=True)  # it may be of older sources
            self.app.display_warning(f"studio-cas is built without its compiled loops, and is slower: {failure}")
            return
        if not beside:
            build_data["force_include"][str(target)] = f"studio_cas/native/{LIBRARY}"
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled for the wheel."""
        del version, build_data, artifact_path
        self._temporary.cleanup()
