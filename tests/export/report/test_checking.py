"""check --report and bench --report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from tests.export.report.pages import Page

from edge_export.bench import Timing
from edge_export.cli.measuring import check
from edge_export.proof.reference import check_reference
from edge_export.report import checking, timings


def test_a_ports_folder(tmp_path: Path) -> None:
    reference, port = tmp_path / "pack", tmp_path / "<b>port"
    for folder in (reference, port):
        folder.mkdir()
        np.save(folder / "same.npy", np.arange(5.0))
    rng = np.random.default_rng(0)
    mel = rng.normal(size=(80, 300))
    np.save(reference / "mel.npy", mel)
    mel[40, 100] += 0.25
    np.save(port / "mel.npy", mel)
    np.save(reference / "only.npy", mel)
    np.save(port / "<i>.npy", mel)
    with pytest.raises(typer.Exit):
        check(reference, port, report=tmp_path / "r.html")
    read = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    read.check()
    states = {cells[0]: cells[7] for cells in read.tables[0][1:]}
    assert states == {"mel.npy": "FAIL", "only.npy": "MISSING", "same.npy": "PASS"}
    assert "<i>.npy" in read.texts["li"]
    assert "at (40, 100)" in read.texts["dd"]
    assert "<b>port" in read.texts["h1"]
    assert len(read.all("img")) == 2


@pytest.mark.parametrize(
    ("metadata", "players"),
    [('{"sample_rate": 16000}', 3), ('{"sample_rate": "<b>"}', 0), ('{"sample_rate": 1e400}', 0), ("", 0)],
)
def test_sound_of_a_port_is_played_where_the_pack_states_its_rate(
    tmp_path: Path, metadata: str, players: int
) -> None:
    reference, port = tmp_path / "pack", tmp_path / "port"
    for folder in (reference, port):
        folder.mkdir()
    (reference / "metadata.json").write_text(metadata)
    time = np.arange(8000) / 16000
    np.save(reference / "wav.npy", np.sin(2 * np.pi * 440 * time).astype(np.float32))
    np.save(port / "wav.npy", np.sin(2 * np.pi * 441 * time).astype(np.float32))
    checking.write_report(tmp_path / "r.html", check_reference(reference, port))
    read = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    read.check()
    assert len(read.all("audio")) == players


def test_contests() -> None:
    rows = [
        Timing("mel", 1, "edge_runtime", 2.0, "librosa", 6.0, 3.0),
        Timing("start", 1, "x", 5.0, "", 0.0, None),
    ]
    read = Page(timings.bench_page(rows))
    read.check()
    assert read.tables[0][1] == ["mel", "1", "edge_runtime", "2.000", "librosa", "6.000", "3.00"]
    assert read.tables[0][2][-3:] == ["–", "–", "–"]
