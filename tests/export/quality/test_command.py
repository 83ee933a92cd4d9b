"""The ends of the tools' command lines: tables, figures, refusals."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from edge_export.quality import command
from edge_runtime.errors import ConfigError, InputError


def test_tables_are_printed_and_figures_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, out, figures = command.parser("A tool.", "sounds"), tmp_path / "a" / "b", tmp_path / "f.json"

    def measure(given: Namespace) -> command.Measured:
        assert given.out.is_dir()
        command.say("at work")
        return "a table", {"figure": 1}

    assert command.run(options, measure, ["--out", str(out), "--json", str(figures)]) == 0
    assert capsys.readouterr() == ("a table\n", "at work\n")
    assert json.loads(figures.read_text()) == {"figure": 1}


def test_a_refusal_is_one_line_and_leaves_no_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_given: Namespace) -> command.Measured:
        raise InputError("a.wav", got="noise", expected="speech")

    figures = tmp_path / "f.json"
    assert command.run(command.parser("A tool.", "sounds"), refuse, ["--json", str(figures)]) == 2
    assert capsys.readouterr() == ("", "a.wav: got noise, expected speech\n")
    assert not figures.exists()
    assert command.run(command.parser("A.", "s"), lambda _: ("", 1), ["--json", str(tmp_path)]) == 2
    assert "got a folder, expected a file" in capsys.readouterr().err


def test_pairs_are_names_and_folders() -> None:
    assert command.pairs("--bundle", ["a=b=c", "d="]) == [("a", "b=c"), ("d", "")]
    with pytest.raises(ConfigError, match="--timed: got ab, expected NAME=DIR"):
        command.pairs("--timed", ["ab"])
