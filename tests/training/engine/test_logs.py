"""The table of figures, and what is shown while a run goes on."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest
from tests.training.vocoder.tiny_run import fit

from edge_training.engine.logs import TABLE, StepsBar, TableLog, quiet, read_table


def test_rows_of_one_step_are_joined_and_columns_grow(tmp_path: Path) -> None:
    table = TableLog(tmp_path, 0)
    table.log_metrics({"loss": 1.5, "epoch": 0}, 1)
    table.log_metrics({"loss": 0.5}, 2)
    table.log_metrics({"validation": 0.25}, 2)
    assert read_table(tmp_path / TABLE) == [
        {"step": 1, "loss": 1.5},
        {"step": 2, "loss": 0.5, "validation": 0.25},
    ]
    assert (tmp_path / TABLE).read_text().splitlines()[0] == "step,loss,validation"


def test_a_resumed_table_drops_what_comes_again(tmp_path: Path) -> None:
    table = TableLog(tmp_path, 0)
    for step in range(1, 6):
        table.log_metrics({"loss": float(step)}, step)
    resumed = TableLog(tmp_path, 3)
    resumed.log_metrics({"loss": 40.0}, 4)
    assert [row["loss"] for row in read_table(tmp_path / TABLE)] == [1, 2, 3, 40]


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text("step,loss\n1,2.5\n2,1.2e")
    assert read_table(tmp_path / TABLE) == [{"step": 1, "loss": 2.5}]
    assert read_table(tmp_path / "nothing.csv") == []


def test_lines_where_there_is_no_terminal(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(corpus, tmp_path / "run", steps=2, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "step 2/2" in lines[0]
    assert "loss/mel" in lines[0]


def test_a_bar_on_a_terminal(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fit(corpus, tmp_path / "run", steps=3, progress=True, callbacks=[])
    out = "".join(capsys.readouterr())
    assert "3/3" in out
    assert StepsBar.__mro__[1].__name__ == "TQDMProgressBar"


def test_quiet_is_over_at_its_end() -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    with quiet():
        assert logger.level == logging.ERROR
        warnings.warn_explicit("hint", UserWarning, "x.py", 1, module="lightning.pytorch.trainer")
    assert logger.level == before
    with pytest.warns(UserWarning, match="hint"):
        warnings.warn_explicit("hint", UserWarning, "x.py", 1, module="lightning.pytorch.trainer")
