"""The golden arrays are all there, byte for byte, and were made from the formulas of tests/closed_form.py."""

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import closed_form

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "reference_data"
MANIFEST: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text())
ARRAYS: dict[str, dict[str, Any]] = MANIFEST["arrays"]

# nets: audio-encoder and hifigan; mel-inversion; stft and istft; degli
COUNTS = {
    "signals": 3 * 8,
    "mel": 9 * 8 + 2 * 2 + 1,
    "nets": 2 * (2 + 4) + 2 * 8 + 2 * 2 * 5 + 4 * 2 + 2 * 3 + 2 * 3,
    "weights": 2 * 2 + 2 * 4,
    "samplers": 3 + 2 * 7 * 2,
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("part", COUNTS)
def test_none_is_lost(part: str) -> None:
    listed = {path for path in ARRAYS if path.startswith(part)}
    stored = {path.relative_to(FOLDER).as_posix() for path in (FOLDER / part).rglob("*.npy")}
    assert stored == listed
    assert len(listed) == COUNTS[part]


@pytest.mark.parametrize("path", ARRAYS)
def test_array_is_the_listed_one(path: str) -> None:
    entry, array = ARRAYS[path], np.load(FOLDER / path)
    assert sha256(FOLDER / path) == entry["sha256"]
    assert (list(array.shape), str(array.dtype)) == (entry["shape"], entry["dtype"])
    assert np.isfinite(array).all()
    assert entry["made"]


def test_sentence_is_the_recorded_one() -> None:
    sentence = MANIFEST["sentence"]
    assert sha256(ROOT / sentence["file"]) == sentence["sha256"]
    assert sentence["text"] in sentence["commands"][0]
    assert sentence["commands"][0].startswith("espeak-ng ")
    assert sentence["commands"][1].startswith("sox ")


def test_whole_is_small() -> None:
    """The weights that ship have a limit of their own, in test_weights.py."""
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    assert sum(path.stat().st_size for path in files if path.suffix != ".safetensors") < 6e6


def test_signals_follow_their_formulas() -> None:
    for rate in (16000, 22050, 11413):
        for name, samples in closed_form.signals(rate).items():
            stored = np.load(FOLDER / "signals" / str(rate) / f"{name}.npy")
            np.testing.assert_allclose(samples, stored, rtol=0, atol=2e-7)  # another libm, another last bit


def test_generator_does_not_import_the_code_under_test() -> None:
    for file in (*FOLDER.glob("*.py"), ROOT / "tests" / "closed_form.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("edge_")]


# ---- the formulas themselves ------------------------------------------------------------------------------


def by_hand(name_crc: int, k: int) -> float:
    """u(NAME, k) of closed_form's docstring, in Python's integers."""
    h = (k + 0x9E3779B9 * name_crc) % 2**32
    h = (h ^ (h >> 16)) * 0x7FEB352D % 2**32
    h = (h ^ (h >> 15)) * 0x846CA68B % 2**32
    return (h ^ (h >> 16)) / 2**31 - 1


def test_uniform_is_the_documented_hash() -> None:
    name_crc = 0xCBF43926  # of "123456789", the check value of CRC-32
    expected = [by_hand(name_crc, k) for k in range(50)]
    np.testing.assert_array_equal(closed_form.uniform("123456789", 50), expected)


def test_uniform_is_spread() -> None:
    values = closed_form.uniform("a", 100_000)
    assert abs(values.mean()) < 0.01
    assert values.std() == pytest.approx(3**-0.5, abs=0.01)
    assert np.unique(values).size > 99_990
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.01
    assert abs(np.corrcoef(values, closed_form.uniform("b", 100_000))[0, 1]) < 0.01


def test_tensors_have_the_documented_ranges() -> None:
    weight = closed_form.tensor("ups.0.weight", (8, 6, 2))
    assert weight.dtype == np.float32
    assert 0.4 < np.abs(weight).max() <= 0.5  # sqrt(3 / 12)
    assert closed_form.tensor("0.conv_block.1.running_var", (1000,)).min() == pytest.approx(0.7, abs=0.01)
    assert closed_form.tensor("conv_pre.weight_g", (1000, 1, 1)).min() == pytest.approx(0.8, abs=0.01)
    assert closed_form.tensor("0.conv_block.1.num_batches_tracked", ()).dtype == np.int64


def test_prefixes_do_not_change_weights() -> None:
    plain = closed_form.state({"0.conv_block.0.bias": (4,)})
    prefixed = closed_form.state({"module.audio_encoder.0.conv_block.0.bias": (4,)})
    np.testing.assert_array_equal(next(iter(plain.values())), next(iter(prefixed.values())))
