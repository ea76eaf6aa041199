"""A script as a child process: what it prints, how it ends, and what signals do to it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path

import pytest

from studio_cas.errors import UsageError
from studio_cas.experiment.output import Recorder, open_channels
from studio_cas.experiment.process import Script

HOST = """
import os, sys
from pathlib import Path
from studio_cas.experiment.output import Recorder, open_channels
from studio_cas.experiment.process import Script

channels = open_channels()
recorder = Recorder(channels, Path(sys.argv[1]))
script = Script([sys.executable, "-u", "-c", sys.argv[2]], Path.cwd(), os.environ, channels, lambda text: None)
with script:
    recorder.start()
    code = script.wait()
    recorder.finish()
os.write(2, b"<code %d stop_asked %d>" % (code, script.stop_asked))
"""


def host(tmp_path, program):
    return [sys.executable, "-c", HOST, str(tmp_path / "output"), textwrap.dedent(program)]


def run_script(tmp_path, command, say=lambda text: None):
    """The exit code and the file, of a script whose output is shown nowhere."""
    with (tmp_path / "shown").open("wb") as shown:
        channels = open_channels(shown.fileno(), shown.fileno())
        recorder = Recorder(channels, tmp_path / "output")
        with Script(command, tmp_path, os.environ, channels, say) as script:
            recorder.start()
            code = script.wait()
            recorder.finish()
    assert (tmp_path / "shown").read_bytes() == (tmp_path / "output").read_bytes()
    return code, (tmp_path / "output").read_bytes()


def test_output_is_kept_byte_for_byte(tmp_path):
    program = "import os; os.write(1, bytes(range(256)) * 1000); os.write(2, b'\\xff\\r\\n\\0')"
    code, output = run_script(tmp_path, [sys.executable, "-c", program])
    assert code == 0
    assert output == bytes(range(256)) * 1000 + b"\xff\r\n\0"


def test_the_exit_code_is_the_scripts(tmp_path):
    assert run_script(tmp_path, [sys.executable, "-c", "raise SystemExit(3)"])[0] == 3


def test_a_script_killed_by_a_signal_gives_128_and_its_number(tmp_path):
    program = "import os; print('before', flush=True); os.kill(os.getpid(), 9)"
    assert run_script(tmp_path, [sys.executable, "-c", program]) == (137, b"before\n")


def test_a_process_left_behind_does_not_hold_the_run(tmp_path):
    began = time.monotonic()
    code, output = run_script(tmp_path, ["sh", "-c", "echo said; sleep 30 &"])
    assert (code, output) == (0, b"said\n")
    assert time.monotonic() - began < 5


def test_a_command_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be run"):
        run_script(tmp_path, ["/no/such/program"])


def test_signals_are_given_back(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    run_script(tmp_path, ["true"])
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_stdout_and_stderr_are_shown_where_they_belong(tmp_path):
    command = host(tmp_path, "import os; os.write(1, b'out'); os.write(2, b'err')")
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == b"out"
    assert done.stderr == b"err<code 0 stop_asked 0>"
    assert sorted((tmp_path / "output").read_bytes()) == sorted(b"outerr")


def test_one_target_keeps_the_order(tmp_path):
    command = host(tmp_path, "import os\nfor n in range(500): os.write(1 + n % 2, b'%d ' % n)")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    expected = b"".join(b"%d " % n for n in range(500))
    assert done.stdout.startswith(expected)
    assert (tmp_path / "output").read_bytes() == expected


def test_a_reader_that_goes_away_stops_neither_script_nor_file(tmp_path):
    program = "import time\nfor n in range(50): print(n, flush=True); time.sleep(0.002)"
    with subprocess.Popen(host(tmp_path, program), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert b"<code 0" in process.stderr.read()
    assert (tmp_path / "output").read_bytes().splitlines()[-1] == b"49"


COUNTING = """
import signal, time, sys
counts = 0
def count(number, frame):
    global counts
    counts += 1
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, count)
print("ready", flush=True)
began = time.monotonic()
while not counts and time.monotonic() < began + 20:
    time.sleep(0.01)
time.sleep(0.3)
print("signals", counts)
sys.exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_signal_reaches_the_script_exactly_once(tmp_path, number, whole_group):
    command = host(tmp_path, COUNTING)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0) as process:
        process.stdout.readline()
        (os.killpg if whole_group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert out == b"signals 1\n"
    assert err == b"<code 7 stop_asked 1>"


def test_a_second_interrupt_kills_a_script_that_ignores_the_first(tmp_path):
    program = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(host(tmp_path, program), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert err == b"<code 137 stop_asked 1>"


def test_a_third_interrupt_is_the_end_though_the_script_was_not_seen_to_die(tmp_path):
    said = []
    with Script(["sleep", "60"], tmp_path, os.environ, None, said.append) as script:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            script.wait()
        assert script.exit_code in {130, 137}  # by the first, or by the second
        assert script.stop_asked
    assert [words.split(maxsplit=1)[0] for words in said] == ["interrupt", "script"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


CAPTURING = """
import os, sys, time
from pathlib import Path
from studio_cas.experiment.process import Script

with Script(["sleep", sys.argv[1]], Path.cwd(), os.environ, None, lambda text: print(text, flush=True)) as script:
    print("running", flush=True)
    script.wait()
    try:
        print("capturing", flush=True)
        time.sleep(20)
        print("captured", flush=True)
    except KeyboardInterrupt:
        print("given up, stop_asked", script.stop_asked, flush=True)
"""


def test_the_last_captures_are_given_up_at_the_second_word():
    command = [sys.executable, "-c", CAPTURING, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = iter(process.stdout.readline, "")
        assert [next(lines), next(lines)] == ["running\n", "capturing\n"]
        process.send_signal(signal.SIGINT)
        assert "press Ctrl-C again" in next(lines)
        process.send_signal(signal.SIGINT)
        assert next(lines) == "given up, stop_asked False\n"


def test_who_stopped_the_script_is_warned_before_the_last_captures_are_given_up():
    command = [sys.executable, "-c", CAPTURING, "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = iter(process.stdout.readline, "")
        assert next(lines) == "running\n"
        process.send_signal(signal.SIGINT)
        assert "passed on to the script" in next(lines)
        assert next(lines) == "capturing\n"
        process.send_signal(signal.SIGINT)
        assert "press Ctrl-C again" in next(lines)
        process.send_signal(signal.SIGTERM)  # the captures are what it would ask for
        process.send_signal(signal.SIGINT)
        assert next(lines) == "given up, stop_asked True\n"


def on_terminal(command, talk):
    """Run `command` in a session of its own on a new terminal; `talk(terminal)`; what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    talk(terminal)
    shown = b""
    while piece := read_quietly(terminal):
        shown += piece
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown


def read_quietly(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def wait_for(terminal, text):
    seen = b""
    while text not in seen:
        piece = read_quietly(terminal)
        assert piece, seen
        seen += piece


def test_on_a_terminal_the_script_has_a_terminal_and_its_bytes_are_kept(tmp_path):
    program = """
        import os, sys
        sys.stdin.readline()
        print(sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(), file=sys.stderr)
        """

    def talk(terminal):
        os.write(terminal, b"go\n")

    shown = on_terminal(host(tmp_path, program), talk)
    assert b"<code 0 stop_asked 0>" in shown
    expected = b"True True os.terminal_size(columns=77, lines=33)\n"
    assert (tmp_path / "output").read_bytes() == expected
    assert expected.replace(b"\n", b"\r\n") in shown


def test_on_a_terminal_the_script_can_ask_questions(tmp_path):
    program = "print('hello', input('name? '))\nprint('hello', input('name? '))"

    def talk(terminal):
        wait_for(terminal, b"name? ")
        os.write(terminal, b"anna\n")
        wait_for(terminal, b"name? ")
        os.write(terminal, b"ben\n")

    shown = on_terminal(host(tmp_path, program), talk)
    assert b"hello ben" in shown
    assert b"<code 0 stop_asked 0>" in shown


@pytest.mark.parametrize("asked_before", [False, True])
def test_ctrl_c_at_the_terminal_reaches_the_script_once(tmp_path, asked_before):
    question = "input('name? ')\n" if asked_before else ""

    def talk(terminal):
        if asked_before:
            wait_for(terminal, b"name? ")
            os.write(terminal, b"anna\n")
        wait_for(terminal, b"ready")
        os.write(terminal, b"\x03")

    shown = on_terminal(host(tmp_path, question + COUNTING), talk)
    assert b"signals 1" in shown
    assert b"<code 7" in shown


def test_a_full_disk_does_not_stop_the_script(tmp_path):
    with (tmp_path / "shown").open("wb") as shown:
        channels = open_channels(shown.fileno(), shown.fileno())
        recorder = Recorder(channels, Path("/dev/full"))
        with Script(["echo", "said"], tmp_path, os.environ, channels, lambda text: None) as script:
            recorder.start()
            assert script.wait() == 0
            recorder.finish()
    assert "No space left" in recorder.problem
    assert (tmp_path / "shown").read_bytes() == b"said\n"
