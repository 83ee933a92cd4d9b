"""The outermost handler: whatever an input makes Python raise is one sentence that names it."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_export import __main__ as command
from edge_runtime.errors import InputError, TargetError, doubt
from edge_runtime.media.audio import write_wav
from edge_runtime.store import reading


def failing(error: BaseException) -> Callable[[list[str]], int]:
    def run(arguments: list[str]) -> int:
        assert "--debug" not in arguments
        raise error

    return run


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (MemoryError("Unable to allocate 7 TiB"), "x.npy: got more than this machine's memory .*7 TiB"),
        (RecursionError("maximum depth"), "x.npy: got something nested too deeply"),
        (OverflowError("int too large"), "x.npy: got int too large"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "x.npy: got 'utf-8' codec"),
        (UnicodeEncodeError("utf-8", "caf\udce9.wav", 3, 4, "bad"), r"caf\\xe9.wav: got characters"),
        (OSError(errno.EIO, "I/O error"), "x.npy: got «I/O error»"),
        (OSError(errno.EACCES, "denied", "/root/a"), "/root/a: got «denied»"),
        (OSError(errno.ENOSPC, "No space left"), "results: got «No space left»"),
        (OSError(errno.EFBIG, "too large", "/there"), "/there: got «too large»"),
    ],
)
def test_what_nobody_foresaw_is_one_sentence_that_names_the_file(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    failure: Exception,
    words: str,
) -> None:
    (tmp_path / "x.npy").touch()
    reading.regular_file(tmp_path / "x.npy")
    monkeypatch.setattr(command, "run", failing(failure))
    assert command.main(["run", "vocoder", "--out", "results"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(words, err), err
    with pytest.raises(type(failure)):
        command.main(["run", "--debug"])


def test_a_bug_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", failing(KeyError("ours")))
    with pytest.raises(KeyError):
        command.main(["nets"])


@pytest.mark.parametrize("given", [["--out", "a b"], ["--out=a b"], ["--json", "a b"]])
def test_the_target_is_found_among_the_options(given: list[str]) -> None:
    refusal = command.explain(OSError(errno.ENOSPC, "full"), ["verify", *given])
    assert isinstance(refusal, TargetError)
    assert refusal.what == "a b"
    assert command.explain(OSError(errno.ENOSPC, "full"), ["verify", "--out"]).what == "--out"
    assert command.explain(OSError(errno.ENOSPC, "full"), []).what == "the output"


def test_doubts_are_lines_and_refusals_under_strict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: list[str]) -> int:
        assert arguments == ["mel"]
        for _ in range(2):
            doubt(InputError("a.wav", got="silence", expected="sound"))
        return 0

    monkeypatch.setattr(command, "run", run)
    assert command.main(["mel"]) == 0
    assert capsys.readouterr().err == "warning: a.wav: got silence, expected sound\n" * 2
    assert command.main(["mel", "--strict"]) == 2
    assert capsys.readouterr().err == "edge-export: a.wav: got silence, expected sound\n"
    assert command.main(["mel"]) == 0  # and it ends with the call


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp932", "cp1252"])
def test_terminals_of_any_encoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str) -> None:
    write_wav(tmp_path / "x.wav", np.sin(np.arange(8000) / 9), 16000)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    out = tmp_path / "输出 œ –.npy"
    assert command.main(["mel", str(tmp_path / "x.wav"), "--preset", "talking-head", "--out", str(out)]) == 0
    sys.stdout.flush()
    assert shown.getvalue().decode(encoding).startswith(str(tmp_path))
    assert out.is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take UTF-8 names alone")
def test_names_that_are_no_text_run_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"caf\xe9\n.wav")
    write_wav(tmp_path / name, np.sin(np.arange(8000) / 9), 16000)
    given = ["mel", str(tmp_path / name), "--preset", "talking-head", "--out", str(tmp_path / "x.npy")]
    assert command.main(given) == 0
    capsys.readouterr()
    (tmp_path / name).write_bytes(b"nothing")
    assert command.main([*given, "--overwrite"]) == 2
    err = capsys.readouterr().err
    assert r"caf\xe9\n.wav: " in err
    assert err.count("\n") == 1


def test_usage_errors_show_escape_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["mel", "a.wav", "--\x1b[31mred"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert r"\x1b[31mred" in err


def test_a_missing_library_is_a_sentence_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")
    monkeypatch.setattr(command, "run", failing(missing))
    assert command.main(["gradcam"]) == 2
    sentence = "edge-export: this command: got no module named torch, expected torch to be installed; "
    assert capsys.readouterr().err == sentence + "pip install 'edge-export[train]'\n"
    monkeypatch.setattr(command, "run", failing(ModuleNotFoundError("ours", name="edge_export.nothing")))
    with pytest.raises(ModuleNotFoundError):
        command.main(["gradcam"])


INTERRUPTED = """
import os, signal, sys
from edge_export import __main__ as command, demo

def interrupted(*_, **__):
    exec("os.kill(os.getpid(), signal.SIGINT)")

demo.demo = interrupted
sys.exit(command.main(["demo", "--out", "nowhere"]))
"""


def test_ctrl_c_is_one_word_and_130(tmp_path: Path) -> None:
    """As `python -m`, in text that is executed, as dataclasses are: there Python would end by a signal."""
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    command = [sys.executable, "-m", "interrupted"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr, ended.stdout) == (130, "edge-export: stopped\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
def test_a_reader_that_has_gone_ends_the_command_quietly() -> None:
    """Written, and flushed at the end, into a pipe that nobody reads."""
    code = "import sys; from edge_export.__main__ import main; sys.exit(main(['nets']))"
    gone, into = os.pipe()
    os.close(gone)
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=into, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(into)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(sys.platform == "win32", reason="streams as POSIX has them")
def test_closed_streams_do_not_swallow_files(tmp_path: Path) -> None:
    """The next file that is opened would otherwise be standard output."""
    code = (
        "import os; os.close(1); os.close(2)\n"
        "from edge_export.__main__ import main\n"
        f"main(['nets']); file = open({str(tmp_path / 'file')!r}, 'w'); assert file.fileno() > 2\n"
        "file.write('ours'); os.write(1, b'theirs')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "file").read_text() == "ours"


def test_a_shell_is_told_how_to_go_on() -> None:
    """What `edge-export --install-completion` makes bash ask."""
    asked = {"_EDGE_EXPORT_COMPLETE": "complete_bash", "COMP_WORDS": "edge-export ex", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "edge_export"],
        capture_output=True,
        text=True,
        env=os.environ | asked,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["export"]), done.stderr


def test_help_loads_no_library_that_takes_time() -> None:
    code = (
        "import sys\nfrom edge_export.__main__ import main\nassert main(['--help']) == 0\n"
        "print(sorted({'numpy', 'torch', 'onnx', 'onnxruntime', 'cv2', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
