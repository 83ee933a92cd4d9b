"""Palettes: indices into tables, in the forms of iOS 16 and 18, as the executor reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_export.convert import export
from edge_export.mil import Program
from edge_export.proof.verify import verify
from edge_runtime.errors import ConfigError
from edge_runtime.store.targets import sha256_tree


@pytest.mark.parametrize("ios", [16, 18])
def test_palettes_are_small_and_prove_themselves(tmp_path: Path, ios: int) -> None:
    made = export(
        "phoneme-adapter", tmp_path / "out", random=1, changes={"in_dim": 64, "out_dim": 96}, ios=ios,
        targets=["coreml"], precisions=["fp16", "palette8", "palette6"],
    )  # fmt: skip
    proof = verify(made)
    assert proof.passed
    noise = {
        row.precision: row.comparison.snr_db
        for row in proof.rows
        if row.comparison and row.case == "sentence"
    }
    assert noise["fp16"] > noise["palette8"] > noise["palette6"] > 22
    sizes = {item.precision: item.bytes for item in made.manifest.artifacts}
    assert sizes["fp16"] > sizes["palette8"] > sizes["palette6"]
    for precision in ("palette8", "palette6"):
        program = Program.open(made.artifact("coreml", precision))
        assert program.operations["constexpr_lut_to_dense"] == 1
    assert {item.version.split(",")[0] for item in made.manifest.artifacts} == {f"iOS {ios}"}


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    hashes = {  # k-means draws its beginnings
        sha256_tree(
            export(
                "phoneme-adapter", tmp_path / name, random=1, changes={"in_dim": 64, "out_dim": 96},
                targets=["coreml"], precisions=["palette6"],
            ).artifact("coreml", "palette6")
        )
        for name in ("one", "two")
    }  # fmt: skip
    assert len(hashes) == 1


def test_another_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ios: got 17, expected 16 or 18"):
        export("phoneme-adapter", tmp_path / "out", random=1, ios=17)
