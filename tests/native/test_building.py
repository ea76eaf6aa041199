"""The compiled loops are built where there is a C compiler, and everything works where there is none."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from studio_cas import native
from studio_cas.cli.checks import check_versions

ROOT = Path(__file__).parents[2]
LIBRARY = "studio_cas/native/studio_native.so"
STRICT = "-Wall -Wextra -Werror -Wshadow -Wconversion -Wno-sign-conversion"


COMPILER = shlex.split(os.environ.get("CC", "cc"))


def has_compiler():
    try:
        return subprocess.run([*COMPILER, "--version"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler here")


def build(folder, **variables):
    """What a build of the wheel said, and the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    environment = {**os.environ, "COLUMNS": "500", **variables}
    environment.pop("STUDIO_NATIVE", None)
    done = subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=True)
    (wheel,) = folder.glob("*.whl")
    return done.stdout + done.stderr, wheel


@needs_compiler
def test_a_wheel_holds_the_library_and_is_of_this_platform(tmp_path):
    said, wheel = build(tmp_path, CFLAGS=STRICT)
    assert "without its compiled loops" not in said
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert LIBRARY in archive.namelist()
        assert not [name for name in archive.namelist() if name.endswith((".c", ".h"))]


@pytest.mark.parametrize("variables", [{"CC": "/bin/false"}, {"CC": "no-such-compiler"}, {"STUDIO_NATIVE": "0"}])
def test_without_a_compiler_the_wheel_is_pure_and_works(tmp_path, variables):
    said, wheel = build(tmp_path, **variables)
    (line,) = [line for line in said.splitlines() if "without its compiled loops" in line]
    assert next(iter(variables.values())) in line
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert LIBRARY not in archive.namelist()
        archive.extractall(tmp_path / "site")
    program = (
        "from studio_cas import native; from studio_cas.codec import frames, choose; import array; "
        "plain = array.array('f', [0.5 + i / 7000 for i in range(7000)]).tobytes(); "
        "codec, parts = frames.encode(memoryview(plain), choose.choose(plain, 0), 0); "
        "assert bytes(frames.decode(codec, memoryview(b''.join(parts)), len(plain))) == plain; "
        "print(int(codec), native.__file__, native.state())"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_NATIVE", "COVERAGE_"))
    }
    environment["PYTHONPATH"] = str(tmp_path / "site")  # another copy, whose lines do not count
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(f"2 {tmp_path / 'site'}")
    assert "not built" in said


def state_of(**variables):
    program = "from studio_cas import native; print(native.library() is None, native.state())"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_switch_turns_it_off():
    assert state_of(STUDIO_NATIVE="0") == "True switched off by STUDIO_NATIVE=0"


def loaded(monkeypatch, path):
    monkeypatch.delenv("STUDIO_NATIVE", raising=False)
    monkeypatch.setattr(native, "FILE", path)
    return native._loaded.__wrapped__()


@needs_compiler
def test_a_library_of_another_version_is_not_used(tmp_path, monkeypatch):
    source = tmp_path / "old.c"
    source.write_text("int studio_native_version(void) { return 0; }\n")
    subprocess.run([*COMPILER, "-shared", "-fPIC", "-o", tmp_path / "old.so", source], check=True)
    library, state = loaded(monkeypatch, tmp_path / "old.so")
    assert library is None
    assert state.startswith("of another version (0, and ")


@needs_compiler
def test_a_library_that_lacks_a_function_is_not_used(tmp_path, monkeypatch):
    source = tmp_path / "half.c"
    source.write_text(f"int studio_native_version(void) {{ return {native.VERSION}; }}\n")
    subprocess.run([*COMPILER, "-shared", "-fPIC", "-o", tmp_path / "half.so", source], check=True)
    library, state = loaded(monkeypatch, tmp_path / "half.so")
    assert library is None
    assert state.startswith("cannot be loaded: ")


def test_what_is_no_library_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "damaged.so").write_bytes(b"\x7fELF and no more")
    library, state = loaded(monkeypatch, tmp_path / "damaged.so")
    assert library is None
    assert state.startswith("cannot be loaded: ")


def test_the_doctor_says_whether_it_is_in_use():
    (finding,) = [finding for finding in check_versions() if finding.subject == "compiled loops"]
    assert finding.text == native.state()
    assert finding.state == "ok"


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda plain: memoryview(plain)[3:]])
def test_the_address_of_a_buffer_is_where_its_bytes_are(kind):
    import ctypes

    plain = kind(b"where these bytes are")
    assert ctypes.string_at(native.address(plain), len(plain)) == bytes(plain)
