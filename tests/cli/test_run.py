"""`studio run`, as a person meets it: real scripts, on the embedded local store."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio_cas.experiment import records
from studio_cas.formats.experiment import Stop, attempt_key, decode_created, decode_ended, decode_started
from studio_cas.store.versions import list_tags, list_versions
from studio_cas.worktree.listing import entries, read_file

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def work(terminal):
    """A script folder of its own, in which `terminal` works."""
    folder = terminal.home / "work"
    folder.mkdir()
    terminal.folder = folder
    return folder


@pytest.fixture
def script(work):
    def write(text, name="script.py"):
        (work / name).write_text(text)
        return name

    return write


@pytest.fixture
def stored(terminal):
    """What the store has: tag to path to content, of the latest versions of an experiment."""

    def stored(experiment, tag=None):
        with terminal.opened() as store:
            if tag is None:
                return {name: read_all(store, experiment, name) for name in list_tags(store, experiment)}
            return read_all(store, experiment, tag)

    return stored


def read_all(store, experiment, tag):
    version = next(list_versions(store, experiment, tag))
    files = [entry for entry in entries(store, version) if entry.kind == "file"]
    return {os.fsdecode(entry.path): b"".join(read_file(store, version, entry.path)) for entry in files}


def record(terminal, experiment, name, attempt=1):
    backend = terminal.backend
    decode = {"created": decode_created, "started": decode_started, "ended": decode_ended}[name]
    return decode(bytes(backend.read(attempt_key(experiment, attempt, name))))


def test_a_script_runs_and_everything_is_captured(terminal, script, stored):
    name = script("import sys; print('out'); print('err', file=sys.stderr); open('made', 'w').write('x')")
    outcome = terminal.ok("run", "-e", "exp", name)
    assert outcome.out == "out\n"
    assert "err\n" in outcome.err
    assert "studio: experiment exp\n" in outcome.err
    assert "exp finished with exit code 0" in outcome.err
    found = stored("exp")
    assert sorted(found) == ["output", "workspace"]  # nothing was put into modeldir and tb
    assert sorted(found["output"]["output"].split()) == [b"err", b"out"]
    assert sorted(found["workspace"]) == ["made", "script.py"]


def test_the_script_folder_gets_nothing_from_us(terminal, work, script):
    name = script("print('hello')")
    terminal.ok("run", name)
    assert [path.name for path in work.iterdir()] == [name]


def test_without_a_name_the_experiment_is_a_uuid(terminal, script):
    import re
    import uuid

    outcome = terminal.ok("run", script("pass"))
    name = re.search(r"^studio: experiment (\S+)$", outcome.err, re.MULTILINE)[1]
    assert str(uuid.UUID(name)) == name


def test_the_exit_code_is_the_scripts_and_its_output_is_kept(terminal, script, stored):
    name = script("print('so far'); raise SystemExit(3)")
    assert terminal.run("run", "-e", "exp", name).code == 3
    assert stored("exp", "output") == {"output": b"so far\n"}
    ended = record(terminal, "exp", "ended")
    assert (ended.status, ended.exit_code) == ("failed", 3)


def test_a_traceback_is_part_of_the_output(terminal, script, stored):
    assert terminal.run("run", "-e", "exp", script("1 / 0")).code == 1
    assert b"ZeroDivisionError" in stored("exp", "output")["output"]


def test_a_script_that_is_killed_loses_nothing_that_it_wrote(terminal, script, stored):
    name = script(
        "import os, signal\nfrom studio import fs_tracker\n"
        "open(fs_tracker.get_artifact('weights') + '/w', 'w').write('weights')\n"
        "print('printed')\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    outcome = terminal.run("run", "-e", "exp", "-c", "~/weights:weights", name)
    assert outcome.code == 137
    assert stored("exp", "weights") == {"w": b"weights"}
    assert stored("exp", "output") == {"output": b"printed\n"}
    assert record(terminal, "exp", "ended").status == "failed"


def test_arguments_after_the_script_are_the_scripts(terminal, script):
    name = script("import sys; print(sys.argv)")
    words = ["--capture=x", "-e", "other", "--help", "--", "a b", ""]
    assert terminal.ok("run", "-e", "exp", name, *words).out == f"{[name, *words]}\n"


def test_any_command_follows_two_dashes(terminal, work, stored):
    outcome = terminal.ok("run", "-e", "exp", "--", "sh", "-c", 'echo "$0 $1"; exit 0', "one", "two")
    assert outcome.out == "one two\n"
    assert stored("exp", "output") == {"output": b"one two\n"}
    assert terminal.run("run", "--", "sh", "-c", "exit 5").code == 5


@pytest.mark.parametrize(
    "words",
    [
        ["--capture=~/w:w"], ["--capture", "~/w:w"], ["-c=~/w:w"], ["-c", "~/w:w"],
        ["-co=~/w:w"], ["-co", "~/w:w"], ["--capture-once=~/w:w"], ["--capture-once", "~/w:w"],
    ],
)  # fmt: skip
def test_every_spelling_captures(terminal, script, stored, words):
    (terminal.home / "w").mkdir()
    (terminal.home / "w" / "file").write_text("content")
    terminal.ok("run", "-e", "exp", *words, script("pass"))
    assert stored("exp", "w") == {"file": b"content"}


def test_a_missing_captured_folder_is_created(terminal, script, stored):
    name = script("import os; open(os.path.expanduser('~/a/b/file'), 'w').write('x')")
    outcome = terminal.ok("run", "-e", "exp", "-c", "~/a/b:deep", name)
    assert f"made the folder {terminal.home}/a/b" in outcome.err
    assert stored("exp", "deep") == {"file": b"x"}


def test_a_missing_capture_once_path_is_an_error_before_the_script(terminal, work, script):
    name = script("open('ran', 'w')")
    outcome = terminal.fails(4, "run", "-e", "exp", "-co=~/missing:data", name)
    assert "missing does not exist" in outcome.err
    assert not (work / "ran").exists()
    assert not terminal.store.exists()


def test_what_a_capture_left_out_is_told_once(terminal, script):
    for name in ("before", "beside"):
        (terminal.home / name).mkdir()
        os.mkfifo(terminal.home / name / "pipe")
    name = script("pass")
    said = terminal.ok("run", "-e", "exp", "-co=~/before:b", "-c=~/beside:c", "--no-workspace", name).err
    assert said.count("studio: b: pipe: is a FIFO, and is left out\n") == 1
    assert said.count("studio: c: pipe: is a FIFO, and is left out\n") == 1
    assert "exp/b@1: 0 files" in said


def test_a_captured_folder_that_the_script_removed_is_not_said_to_be_there(terminal, script):
    name = script("import os; os.rmdir(os.path.expanduser('~/gone'))")
    outcome = terminal.run("run", "-e", "exp", "-c=~/gone:gone", "--no-workspace", name)
    assert outcome.code == 8
    assert "gone was not captured" in outcome.err
    assert "still in" not in outcome.err


def test_capture_once_keeps_what_was_there_before_the_script(terminal, script, stored):
    data = terminal.home / "data"
    data.mkdir()
    (data / "file").write_text("before")
    name = script("import os; open(os.path.expanduser('~/data/file'), 'w').write('after')")
    terminal.ok("run", "-e", "exp", "-co=~/data:data", name)
    assert stored("exp", "data") == {"file": b"before"}


def test_a_single_file_can_be_captured(terminal, script, stored):
    (terminal.home / "one.txt").write_text("first")
    name = script("import os; open(os.path.expanduser('~/one.txt'), 'w').write('second')")
    terminal.ok("run", "-e", "exp", "-c=~/one.txt:one", name)
    assert stored("exp", "one") == {"one.txt": b"second"}


def test_the_script_finds_its_artifacts(terminal, work, script):
    (terminal.home / "data").mkdir()
    name = script(
        "import json\nfrom studio import fs_tracker as f\n"
        "print(json.dumps([f.get_experiment_key(), f.get_artifacts()]))"
    )
    outcome = terminal.ok("run", "-e", "exp", "-co=~/data:data", "-c", "~/w:w", name)
    experiment, found = json.loads(outcome.out)
    home = terminal.home / ".studioml"
    assert experiment == "exp"
    assert found == {
        "data": str(terminal.home / "data"),
        "w": str(terminal.home / "w"),
        "workspace": str(work),
        "modeldir": str(home / "experiments/exp/modeldir"),
        "tb": str(home / "experiments/exp/tb"),
        "output": str(home / "experiments/exp/.attempts/0001/output"),
    }


def test_an_unknown_artifact_is_an_error_in_the_script(terminal, script):
    name = script("from studio import fs_tracker; fs_tracker.get_artifact('wieghts')")
    outcome = terminal.run("run", "-c", "~/weights:weights", name)
    assert outcome.code == 1
    assert "did you mean 'weights'?" in outcome.err


def test_models_and_tensorboard_logs_are_captured_once_there_are_some(terminal, script, stored):
    name = script(
        "from studio import fs_tracker as f\nopen(f.get_model_directory() + '/m', 'w').write('model')\n"
        "open(f.get_tensorboard_dir() + '/events', 'w').write('events')"
    )
    terminal.ok("run", "-e", "exp", name)
    assert stored("exp", "modeldir") == {"m": b"model"}
    assert stored("exp", "tb") == {"events": b"events"}


def test_default_artifacts_can_be_turned_off(terminal, script):
    name = script("from studio import fs_tracker as f; print(sorted(f.get_artifacts()))")
    words = ["--no-workspace", "--no-output", "--no-modeldir", "--no-tb"]
    assert terminal.ok("run", "-e", "exp", *words, name).out == "[]\n"
    assert not (terminal.store / "versions" / "exp").exists()


def test_a_capture_with_the_same_tag_replaces_a_default(terminal, script, stored):
    (terminal.home / "other").mkdir()
    (terminal.home / "other" / "file").write_text("other")
    terminal.ok("run", "-e", "exp", "-c", "~/other:workspace", "-co", "~/other/file:output", script("print('x')"))
    found = stored("exp")
    assert found["workspace"] == {}  # `file` is another artifact of the same run
    assert found["output"] == {"file": b"other"}


def test_what_tools_make_again_is_left_out_of_the_workspace(terminal, work, script, stored):
    for name in (".git/config", "pkg/__pycache__/m.pyc", ".venv/lib/x.py", "my-env/pyvenv.cfg", "my-env/lib/y.py",
                 "deep/er/env/conda-meta/z", "pkg/kept.py"):  # fmt: skip
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("x")
    terminal.ok("run", "-e", "exp", script("pass"))
    assert sorted(stored("exp", "workspace")) == ["pkg/kept.py", "script.py"]
    terminal.ok("run", "-e", "all", "--workspace-all", "script.py")
    assert {".git/config", "my-env/lib/y.py", "pkg/__pycache__/m.pyc"} <= set(stored("all", "workspace"))


def test_an_ignore_file_has_the_last_word(terminal, work, script, stored):
    for name in ("data/big.bin", "venv/kept.py"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text("x")
    (work / ".studioml_ignore").write_text("/data/\n!venv/\n")
    terminal.ok("run", "-e", "exp", script("pass"))
    assert sorted(stored("exp", "workspace")) == [".studioml_ignore", "script.py", "venv/kept.py"]


def test_no_capture_holds_the_store_the_home_or_another_artifact(terminal, work, script, stored):
    terminal.folder = terminal.home
    name = script("from studio import fs_tracker as f; open(f.get_artifact('w') + '/file', 'w').write('x')")
    (work / "log file [1].txt").write_text("log")
    terminal.ok("run", "-e", "exp", "-c", "work/weights:w", "-c", "work/log file [1].txt:log", f"work/{name}")
    found = stored("exp")
    assert sorted(found["workspace"]) == ["work/script.py"]
    assert found["w"] == {"file": b"x"}
    assert found["log"] == {"log file [1].txt": b"log"}


def test_the_store_itself_cannot_be_captured(terminal, script):
    name = script("pass")
    terminal.ok("run", name)
    outcome = terminal.fails(2, "run", "-c", "~/.studioml/store/packs:p", name)
    assert "keeps for itself" in outcome.err


def test_a_reuse_is_read_only_and_recorded(terminal, script):
    shutil.copytree(EXAMPLES, terminal.folder, dirs_exist_ok=True)
    terminal.ok("run", "--capture=~/weights:weights", "--experiment", "linear_regression", "train_linreg.py")
    outcome = terminal.ok("run", "-e", "norm", "--reuse=linear_regression/weights:w", "print_norm_linreg.py")
    printed = outcome.out.split()
    assert printed[0] == printed[3] == "*****"
    assert "/blobcache/" in printed[1]
    assert "lr_w_9_" in printed[1]
    assert float(printed[2]) > 0
    [reused] = [artifact for artifact in record(terminal, "norm", "created").artifacts if artifact.reuse]
    assert (reused.tag, reused.reuse.experiment, reused.reuse.tag, reused.reuse.number) == (
        "w",
        "linear_regression",
        "weights",
        1,
    )
    assert reused.reuse.manifest in reused.path


def test_a_run_of_the_other_experiment_is_seen_at_once(terminal, script):
    write = "import sys; from studio import fs_tracker as f; open(f.get_artifact('w') + '/n', 'w').write(sys.argv[1])"
    read = "from studio import fs_tracker as f; print(open(f.get_artifact('x') + '/n').read())"
    writer, reader = script(write, "write.py"), script(read, "read.py")
    for number in ("one", "two"):
        terminal.ok("run", "-e", "exp", "-c", "~/w:w", writer, number)
        assert terminal.ok("run", "-r", "exp/w:x", reader).out == f"{number}\n"
    assert terminal.ok("run", "-r", "exp/w@1:x", reader).out == "one\n"


def test_a_reuse_that_does_not_exist_is_an_error_before_the_script(terminal, work, script):
    name = script("open('ran', 'w')")
    outcome = terminal.fails(4, "run", "-e", "exp", "-r", "other/w", name)
    assert "other" in outcome.err
    assert not (work / "ran").exists()
    assert terminal.ok("ls").out == ""  # and leaves no experiment behind


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-c", "~/w"], "has no tag"),
        (["-c", "~/w:w", "-c", "~/v:w"], "two artifacts have the tag 'w'"),
        (["-e", "a/b"], "cannot name an experiment"),
        (["--captrue=~/w:w"], "did you mean --capture=?"),
        (["--queue", "gpu"], "the queue 'gpu' cannot be used yet"),
        (["--interval", "5"], "--interval: '5' is no duration"),
        (["-c"], "--capture 'script.py' has no tag"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_runs(terminal, work, script, words, sentence):
    name = script("open('ran', 'w')")
    assert sentence in terminal.fails(2, "run", *words, name).err
    assert not (work / "ran").exists()


def test_a_script_that_does_not_exist_is_an_error(terminal, work):
    assert "there is no script missing.py" in terminal.fails(4, "run", "missing.py").err
    assert "there is no program 'no-such-program'" in terminal.fails(4, "run", "--", "no-such-program").err
    assert "nothing to run" in terminal.fails(2, "run").err


def test_a_store_that_cannot_be_made_ends_the_run_before_the_script(terminal, work, script):
    name = script("open('ran', 'w')")
    (work / "file").touch()
    assert terminal.run("run", "--store", "file/store", name).code in {3, 9}
    assert not (work / "ran").exists()


def test_a_name_that_another_user_owns_is_refused_unless_joined(terminal, script):
    name = script("pass")
    terminal.ok("run", "-e", "exp", name, STUDIOML_USER="anna")
    outcome = terminal.fails(6, "run", "-e", "exp", name, STUDIOML_USER="ben")
    assert "belongs to anna, and you are ben" in outcome.err
    assert "--join" in outcome.err
    assert "attempt 2" in terminal.ok("run", "--join", "-e", "exp", name, STUDIOML_USER="ben").err
    assert "attempt 3" in terminal.ok("run", "-e", "exp", name, STUDIOML_USER="anna").err


def test_using_a_name_again_is_a_new_attempt_and_keeps_the_versions(terminal, script):
    name = script("import sys; print(sys.argv[1])")
    terminal.ok("run", "-e", "exp", name, "one")
    terminal.ok("run", "-e", "exp", name, "two")
    with terminal.opened() as store:
        versions = list(list_versions(store, "exp", "output"))
        texts = [b"".join(read_file(store, version, b"output")) for version in versions if version.size]
        assert records.list_attempts(store.backend, "exp") == [1, 2]
    assert texts == [b"two\n", b"one\n"]


def test_the_environment_is_recorded(terminal, work, script):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    name = script("pass")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=work, check=True, env=terminal.environment)
    subprocess.run(["git", "remote", "add", "origin", "https://me:secret@host/repo.git"], cwd=work, check=True)
    script("pass  # changed")
    terminal.ok("run", "-e", "exp", name, "--lr", "0.1")
    created, started = record(terminal, "exp", "created"), record(terminal, "exp", "started")
    assert created.command == (sys.executable, name, "--lr", "0.1")
    assert created.folder == str(work)
    assert started.packages["studio-cas"]
    assert started.git.dirty
    assert "+pass  # changed" in started.git.diff
    assert started.git.remote == "https://host/repo.git"


READY = """
import signal, sys, time
from studio import fs_tracker
def save(number, frame):
    open(fs_tracker.get_artifact('w') + '/saved', 'w').write('saved at the last moment')
    print('saved')
    sys.exit(9)
signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGTERM, save)
print('ready', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)])
def test_a_stop_reaches_the_script_and_the_last_capture_is_made(terminal, script, stored, number, group):
    process = terminal.start("run", "-e", "exp", "-c", "~/w:w", script(READY))
    assert process.stdout.readline() == b"ready\n"
    (os.killpg if group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (9, b"saved\n"), err
    assert stored("exp", "w") == {"saved": b"saved at the last moment"}
    assert stored("exp", "output") == {"output": b"ready\nsaved\n"}
    ended = record(terminal, "exp", "ended")
    assert (ended.status, ended.exit_code) == ("stopped", 9)


def test_ctrl_c_ends_a_plain_script_with_130(terminal, script, stored):
    process = terminal.start("run", "-e", "exp", script("print('ready')\nimport time; time.sleep(60)"))
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"KeyboardInterrupt" in stored("exp", "output")["output"]
    assert record(terminal, "exp", "ended").status == "stopped"


def test_a_second_ctrl_c_kills_the_script_and_the_last_capture_is_made(terminal, script, stored):
    text = (
        "import signal, time\nfrom studio import fs_tracker\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "open(fs_tracker.get_artifact('w') + '/file', 'w').write('x')\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    process = terminal.start("run", "-e", "exp", "-c", "~/w:w", script(text), bufsize=0)
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGINT)
    while b"s to end" not in (line := process.stderr.readline()):  # it is heard: the next one is a second one
        assert line
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 137
    assert stored("exp", "w") == {"file": b"x"}
    assert record(terminal, "exp", "ended").status == "stopped"


def test_a_record_in_the_store_stops_the_run_wherever_it_is(terminal, script, stored):
    text = (
        "import time\nfrom studio import fs_tracker\nprint('ready', flush=True)\ntry:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    open(fs_tracker.get_artifact('w') + '/saved', 'w').write('x')"
    )
    process = terminal.start("run", "-e", "exp", "--interval", "1s", "-c", "~/w:w", script(text))
    assert process.stdout.readline() == b"ready\n"
    created = record(terminal, "exp", "created")
    records.request_stop(terminal.backend, created, Stop(time.time(), "ben", "elsewhere"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"ben on elsewhere asks the run to stop" in err
    assert stored("exp", "w") == {"saved": b"x"}
    assert record(terminal, "exp", "ended").status == "stopped"


def test_the_records_tell_what_was_asked_what_there_was_and_what_it_took(terminal, script):
    name = script(
        "data = b'x' * (200 << 20)\nwhile sum(range(10**6)) and __import__('time').process_time() < 0.3: pass"
    )
    words = ["--no-tb", "--workspace-all", "-c", "~/w:w", name]
    for attempt in (1, 2):
        terminal.ok("run", "-e", "exp", *words)
        created, ended = record(terminal, "exp", "created", attempt), record(terminal, "exp", "ended", attempt)
        assert created.python == created.command[0] == sys.executable
        assert (created.defaults, created.workspace_all) == (("workspace", "output", "modeldir"), True)
        assert {art.tag: art.default for art in created.artifacts} == {"workspace": True, "modeldir": True, "w": False}
        assert ended.versions == {"w": (1, 1), "workspace": (1, 1), "output": (1, 1)}  # the second changed nothing
        assert ended.usage.seconds >= ended.usage.cpu_seconds >= 0.3
        assert 200 << 20 <= ended.usage.peak_memory < 2 << 30
        started = record(terminal, "exp", "started", attempt)
        assert started.resources.cpus > 0
        assert started.resources.memory > 1 << 28
        assert started.runner


def test_output_is_captured_while_it_grows(terminal, script):
    name = script("import time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(1)")
    terminal.ok("run", "-e", "exp", "--interval", "1s", name)
    with terminal.opened() as store:
        texts = [b"".join(read_file(store, version, b"output")) for version in list_versions(store, "exp", "output")]
    assert texts[0] == b"0\n1\n2\n"
    assert len(texts) >= 2
    assert all(texts[0].startswith(text) for text in texts)


def test_a_file_that_is_still_being_written_is_named(terminal, script, stored):
    text = (
        "import subprocess, sys\nfrom studio import fs_tracker\nfolder = fs_tracker.get_artifact('w')\n"
        "open(folder + '/done', 'w').write('x')\n"
        "subprocess.Popen(['sh', '-c', 'exec 3>$0/busy; sleep 15', folder], stdout=subprocess.DEVNULL)\n"
        "import time; time.sleep(0.5)"
    )
    outcome = terminal.ok("run", "-e", "exp", "-c", "~/w:w", script(text))
    assert "studio: w: busy is still being written" in outcome.err
    assert stored("exp", "w") == {"done": b"x"}


def test_captures_are_made_while_the_script_runs(terminal, script):
    text = (
        "import time\nfrom studio import fs_tracker\nfor n in range(4):\n"
        "    open(fs_tracker.get_artifact('w') + f'/{n}', 'w').write('x')\n    print(n)\n    time.sleep(1)"
    )
    terminal.ok("run", "-e", "exp", "--interval", "1s", "-c", "~/w:w", script(text))
    with terminal.opened() as store:
        versions = list(list_versions(store, "exp", "w"))
    assert len(versions) >= 3
    assert versions[0].files == 4
    assert versions[-1].files < 4


@pytest.mark.own_store
def test_a_failed_last_capture_says_where_the_files_are(terminal, script):
    text = (
        "import os, sys, time, uuid\nfrom studio import fs_tracker\n"
        "open(fs_tracker.get_artifact('w') + '/file', 'w').write('x')\n"
        "store = os.path.expanduser('~/.studioml/store')\n"
        "until = time.monotonic() + 60\n"
        "while not os.path.isfile(store) and time.monotonic() < until:\n"  # a record may just be on its way into it
        "    try:\n"
        "        os.rename(store, f'{store}.{uuid.uuid4()}')\n"
        "        open(store, 'x')\n"
        "    except OSError:\n"
        "        time.sleep(0.01)\n"
        "sys.exit(int(sys.argv[1]))"
    )
    name = script(text)
    outcome = terminal.run("run", "-e", "exp", "--no-workspace", "-c", "~/w:w", name, "0")
    assert outcome.code == 8
    assert "Traceback" not in outcome.err
    assert f"it is still in {terminal.home}/w; when that is mended: studio push {terminal.home}/w exp/w" in outcome.err
    (terminal.home / ".studioml" / "store").unlink()
    assert terminal.run("run", "-e", "exp", "--no-workspace", "-c", "~/w:w", name, "3").code == 3


def test_a_large_workspace_gets_a_warning_that_names_its_biggest_folders(terminal, work, script):
    (work / "data").mkdir()
    with (work / "data" / "huge").open("wb") as file:
        file.truncate(1100 << 20)
    (work / ".studioml_ignore").write_text("never/\n")
    process = terminal.start("run", "-e", "exp", script("pass"))
    _, err = process.communicate(timeout=120)
    assert b"warning: the workspace" in err
    assert b"data/ (1.1 GiB)" in err


def test_quiet_says_nothing(terminal, script):
    outcome = terminal.ok("run", "--quiet", script("print('x')"))
    assert (outcome.out, outcome.err) == ("x\n", "")


def test_help_shows_an_example(terminal):
    text = terminal.ok("run", "--help").out
    assert "Example: studio run --capture=~/weights:weights --experiment linear_regression train_linreg.py" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_shared_options_may_stand_before_run(terminal, script, tmp_path):
    terminal.ok("--store", str(tmp_path / "elsewhere"), "run", "-e", "exp", script("pass"))
    assert (tmp_path / "elsewhere" / "versions" / "exp").is_dir()
    assert not terminal.store.exists()


@pytest.mark.skipif("coverage" in sys.modules, reason="tracing costs more than what is measured")
def test_an_empty_script_costs_less_than_a_second_more(terminal, script):
    name = script("")
    terminal.ok("run", "-e", "exp", name)
    took = []
    for _ in range(3):  # processor time: the tests share the machine; by the clock it is 0.4 s on a quiet one
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        terminal.ok("run", "-e", "exp", name)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 1.0


def test_the_same_against_a_bucket_that_is_not_there_yet(terminal, script, gcs_emulator):
    shutil.copytree(EXAMPLES, terminal.folder, dirs_exist_ok=True)
    config = terminal.home / ".studioml" / "config.yaml"
    config.parent.mkdir()
    config.write_text(f"storage: {{type: gcloud, bucket: {gcs_emulator.new_bucket()}, prefix: team/a}}\n")
    emulator = {"STORAGE_EMULATOR_HOST": gcs_emulator.endpoint}
    train = ["run", "--capture=~/weights:weights", "--experiment", "linear_regression", "train_linreg.py"]
    terminal.ok(*train, **emulator)
    shutil.rmtree(terminal.home / "weights")
    outcome = terminal.ok("run", "--reuse=linear_regression/weights:w", "print_norm_linreg.py", **emulator)
    assert "lr_w_9_" in outcome.out
    terminal.ok("pull", "linear_regression/weights", terminal.home / "weights", **emulator)
    assert len(list((terminal.home / "weights").iterdir())) == 10
    assert not terminal.store.exists()


def test_a_bucket_that_cannot_be_reached_ends_the_run_before_the_script(terminal, work, script):
    name = script("open('ran', 'w')")
    nobody = {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}
    outcome = terminal.run("run", "--store", "gs://bucket", name, **nobody)
    assert outcome.code == 3
    assert "Traceback" not in outcome.err
    assert not (work / "ran").exists()
