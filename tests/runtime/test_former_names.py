"""Module names of before the rooms still work, and are the same modules."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import edge_export.former_names
import edge_runtime.former_names
import edge_training.former_names

NAMES = [
    (f"{package.__name__.partition('.')[0]}.{old}", f"{package.__name__.partition('.')[0]}.{new}")
    for package in (edge_runtime.former_names, edge_training.former_names, edge_export.former_names)
    for old, new in package.FORMER.items()
]


@pytest.mark.parametrize(("old", "new"), NAMES)
def test_a_former_name_is_the_module_of_today(old: str, new: str) -> None:
    today = importlib.import_module(new)
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
        assert importlib.import_module(old) is today
    assert today.__spec__ is not None
    assert today.__spec__.name == today.__name__ == new
    sys.modules.pop(old)


def test_a_former_module_from_its_package() -> None:
    program = (
        "from edge_runtime import TalkingHead, windows; from edge_runtime.audio import read_audio\n"
        "import edge_runtime.media.audio\n"
        "assert read_audio is edge_runtime.media.audio.read_audio; print(windows.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "edge_runtime.dsp.windows\n", done.stderr


def test_python_m_takes_a_former_name() -> None:
    command = [sys.executable, "-m", "edge_training.fit.vocoder_quality", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--weights" in done.stdout


def test_a_name_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named .edge_runtime.sound"):
        importlib.import_module("edge_runtime.sound")
