"""Any console, closed streams, broken pipes, signals: what a command says and how it ends."""

import errno
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import minisd.__main__
from minisd import cli, console
from minisd.notes import note
from minisd.teaching.book import ROOT
from small import small_pipeline

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
POSIX = pytest.mark.skipif(os.name != "posix", reason="shells and signals of POSIX")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console") / "speck"
    small_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def shell(model, tmp_path):
    """Runs `minisd paint ... --out a.png` under bash, with what follows it; exit code, stdout, stderr."""

    def run(prompt, rest="", **environment):
        words = f"{sys.executable} -m minisd paint --steps 1 --model {model} --out a.png"
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", f'{words} "$1" {rest}', "bash", prompt],
            cwd=tmp_path,
            env=ENVIRONMENT | environment,
            capture_output=True,
            timeout=120,
        )

    return run


def whole(path):
    with Image.open(path) as picture:
        picture.load()
        return True


# ---- streams


@POSIX
@pytest.mark.parametrize("rest", ["| true", "2>&1 | true", ">&- 2>&- <&-"])
def test_nobody_has_to_read(shell, tmp_path, rest):
    assert shell("a red house", rest, PYTHONUNBUFFERED="1").returncode == 0
    assert whole(tmp_path / "a.png")


@POSIX
def test_what_can_not_be_written_is_an_error(shell, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = shell("a red house", "> /dev/full")
    assert done.returncode == 2 and whole(tmp_path / "a.png")
    assert done.stderr == b"minisd: error: the output could not be written (No space left on device)\n"


@POSIX
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-16"])
def test_any_encoding(shell, tmp_path, encoding, model):
    done = shell("ein Häuschen 雪 🏠 (x:1.4)", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    out, err = (text.decode(encoding.partition(":")[0]) for text in (done.stdout, done.stderr))
    assert out.startswith("painted  ") and "note: " in err and "Traceback" not in err


@POSIX
def test_a_prompt_in_utf_8_under_a_locale_without(shell, tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert shell("ein Häuschen", **plain).returncode == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.text["parameters"].startswith("ein Häuschen\n")


def test_streams_of_every_kind_are_written(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, "cp1252", errors="strict"))
    console.make_streams_safe()
    console.say("雪 ü \udcff")
    assert buffer.getvalue() == b"\\u96ea \xfc \\udcff\n"


@pytest.mark.parametrize("number, kept", [(errno.EPIPE, True), (errno.EIO, True), (errno.ENOSPC, False)])
def test_a_stream_that_fails(monkeypatch, number, kept):
    class Failing(io.StringIO):
        def write(self, text):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys, "stdout", Failing())
    monkeypatch.setattr(sys, "stderr", Failing())
    console.tell("lost")
    if kept:
        console.say("lost")
    else:
        with pytest.raises(OSError, match=re.escape(os.strerror(number))):
            console.say("lost")


def test_a_message_can_not_move_the_cursor():
    error = ValueError("x\x1b[2Ky\x07\nz\u202e \udcff")
    assert console.one_line(error) == r"x\x1b[2Ky\x07 z\u202e \udcff"


@pytest.mark.parametrize(
    "error, said",
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x"), "the disk is full"),
        (OSError(errno.ENOSPC, "no room for x; make room"), "no room for x; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied; check"),
        (FileNotFoundError("no model at x"), "no model at x"),
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "not enough memory"),
        (ValueError(), "ValueError"),
    ],
)
def test_errors_in_one_line(error, said):
    assert said in console.one_line(error) and console.is_expected(error)


def test_a_note_is_shown_once_whatever_the_filters(capsys, monkeypatch):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with console.warnings_as_notes() as notes:
            for _ in range(3):
                note("mind\nthe gap")
    assert notes == ["mind the gap"] and capsys.readouterr().err == "note: mind the gap\n"


# ---- signals


def hear_signals():
    """A shell starts its background jobs deaf to SIGINT, and their children with them: hear it again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@POSIX
@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_painting_in_one_line(model, tmp_path, name, code):
    words = [sys.executable, "-m", "minisd", "paint", "(a:1.4)", "--model", str(model), "--steps", "1000"]
    process = subprocess.Popen(
        [*words, "--grid", "100"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=hear_signals,
    )
    assert process.stderr.readline().startswith("note: ")  # on the prompt; painting comes next
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "", "minisd: stopped; no picture was written\n")
    assert list(tmp_path.iterdir()) == []


@POSIX
def test_a_signal_while_everything_is_imported(model, tmp_path):
    """At any moment from the first line of minisd on; three of them."""
    code = "print('begun', flush=True)\nfrom minisd.__main__ import main\nimport sys\nsys.exit(main())"
    dice = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", code, "paint", "a", "--model", str(model), "--steps", "1000"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=hear_signals,
        )
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.25 + dice.random())
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
        assert process.returncode == 130 and re.fullmatch(r"minisd: stopped; .* written\n", err), err


def test_a_library_that_makes_an_error_of_its_own_of_a_signal(monkeypatch, capsys):
    def interrupted(arguments, args):
        os.kill(os.getpid(), signal.SIGTERM)

    def run(arguments, args):
        try:
            interrupted(arguments, args)
        except KeyboardInterrupt:
            raise SystemError("initialisation failed") from None

    monkeypatch.setattr(cli, "run", run)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main([]) == 143
    assert capsys.readouterr().err == "minisd: stopped; nothing was written\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_command_in_another_thread():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["paint", "x", "--steps", "0"])))
    thread.start()
    thread.join()
    assert codes == [2]


def test_the_module_returns_the_exit_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["minisd", "paint", "x", "--steps", "0"])
    before = signal.getsignal(signal.SIGINT)
    try:
        assert minisd.__main__.main() == 2
    finally:
        signal.signal(signal.SIGINT, before)


# ---- folders


@POSIX
def test_a_folder_that_was_removed(model, tmp_path):
    script = f'cd "$1"; rmdir "$1"; exec {sys.executable} -m minisd paint x --model "$2" --out "$3"'
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(tmp_path / "gone"), str(model), str(tmp_path / "a.png")],
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert done.stderr == "minisd: error: the folder that you are in was removed; change to another\n"


@POSIX
def test_two_paintings_at_once_lose_nothing(model, tmp_path):
    words = [sys.executable, "-m", "minisd", "paint", "a", "--model", str(model), "--steps", "1", "--json"]
    started = [
        subprocess.Popen(words, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, encoding="utf-8")
        for _ in range(3)
    ]
    written = {json.loads(process.communicate(timeout=120)[0])["file"] for process in started}
    assert len(written) == 3 and all(whole(path) for path in written)
    assert sorted(map(str, tmp_path.iterdir())) == sorted(written)


def test_what_a_memory_error_says_is_shown():
    from minisd.console import one_line

    assert one_line(MemoryError("give a smaller batch_size")) == "give a smaller batch_size"
    assert "not enough memory" in one_line(MemoryError())
