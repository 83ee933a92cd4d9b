"""Declared options become arguments of a command, and texts become values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from edge_export.__main__ import main
from edge_export.cli.declared import option_parameter, parsed, with_signature
from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.declaration import Option
from edge_training.mri_speech.options import PREPARATION

OPTIONS = (
    Option("sample_rate", int, "Rate", 8000, unit="Hz", short="sr"),
    Option("linear", bool, "Linear", False),
    Option("scaler", Path, "File"),
    Option("mode", str, "Way", "full", ("full", "window")),
)


def test_texts_become_values_of_their_types() -> None:
    seen: list[dict[str, Any]] = []

    def command(**given: Any) -> None:
        seen.append(parsed(OPTIONS, given))

    app = typer.Typer()
    app.command()(with_signature(command, [option_parameter(option) for option in OPTIONS]))
    run = typer.main.get_command(app)
    run.main(["--sr", "16000", "--linear", "--scaler", "a.json"], standalone_mode=False)
    assert seen == [{"sample_rate": 16000, "linear": True, "scaler": Path("a.json")}]
    with pytest.raises(ConfigError, match="--sr: got '1e3', expected a whole number"):
        run.main(["--sr", "1e3"], standalone_mode=False)
    with pytest.raises(ConfigError, match="--mode: got 'half', expected full or window"):
        run.main(["--mode", "half"], standalone_mode=False)


def test_data_mri_lists_what_it_declares(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "mri", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {option.flag} " in text for option in PREPARATION)
    assert all(f"  --{name} " in text for name in ("videos", "wavs", "out", "workers", "overwrite"))
