"""gpu-check: the same ways on the processor; without a GPU one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_export import gpu_check


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        f"gpu-check: got torch {torch.__version__} without a CUDA device, expected"
    )
    assert captured.err.count("\n") == 1


def test_rows_say_what_passed_and_what_failed(tmp_path: Path) -> None:
    told: list[str] = []
    rows = gpu_check.check(
        tmp_path,
        device="cpu",
        bundles={"istft": {"precisions": ["fp32"]}, "degli": {"preset": "none"}},
        trainings={},
        speed=False,
        tell=told.append,
    )
    verdicts = {row.what: row.verdict for row in rows}
    assert verdicts == {
        "export istft": "PASS",
        "verify istft": "PASS",
        "export degli": "FAIL",
        "verify degli": "FAIL",
    }
    assert told == [row.what for row in rows]
    text = gpu_check.table(rows)
    assert "preset of degli: got none, expected one of origin" in text
    assert "cpu fp32" in text
