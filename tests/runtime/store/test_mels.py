"""Mels of other programs: axes, formats, units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import EdgeWarning, InputError, strictly
from edge_runtime.store.mels import check_logarithms, doubt_scale, is_array_file, read_mel

MEL = np.random.default_rng(0).uniform(-9, 1, (80, 30)).astype(np.float32)
LN = PRESETS["hifigan-22k"]


def test_a_batch_axis_is_dropped(tmp_path: Path) -> None:
    for name, mel in (("a", MEL), ("b", MEL[None]), ("c", np.asfortranarray(MEL))):
        np.save(tmp_path / f"{name}.npy", mel)
        np.testing.assert_array_equal(read_mel(tmp_path / f"{name}.npy", 80), MEL)


@pytest.mark.parametrize(
    ("mel", "words"),
    [
        (MEL.T, r"shape \(30, 80\), expected \(80, frames\) or .*transposed: save mel.T"),
        (MEL[:64], r"shape \(64, 30\).*another configuration"),
        (np.stack([MEL, MEL]), r"shape \(2, 80, 30\)"),
        (MEL[None, None], r"shape \(1, 1, 80, 30\)"),
        ((MEL * 10).astype(np.int16), "values of type int16"),
        (MEL > 0, "values of type bool"),
    ],
)
def test_other_axes_and_types_are_refused(tmp_path: Path, mel: np.ndarray, words: str) -> None:
    np.save(tmp_path / "x.npy", mel)
    with pytest.raises(InputError, match=rf"x\.npy: mel: got .*{words}"):
        read_mel(tmp_path / "x.npy", 80)


def test_mels_in_archives_are_taken_and_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "mel.npz", mel=MEL[None], rate=22050, text="hello")
    (tmp_path / "mel.dat").write_bytes((tmp_path / "mel.npz").read_bytes())
    said: list[str] = []
    np.testing.assert_array_equal(read_mel(tmp_path / "mel.npz", 80, said.append), MEL)
    assert said == ["mel.npz: array 'mel' taken"]
    np.savez(tmp_path / "two.npz", a=MEL, b=MEL + 1)
    with pytest.raises(InputError, match=r"two\.npz: got 2 arrays: a \(80, 30\), b \(80, 30\), .*two\.npz:a"):
        read_mel(tmp_path / "two.npz", 80)
    np.testing.assert_array_equal(read_mel(tmp_path / "two.npz:b", 80), MEL + 1)


def test_arrays_are_told_by_their_bytes_too(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", MEL)
    assert is_array_file((tmp_path / "x.npy").rename(tmp_path / "mel.data"))
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert not is_array_file(tmp_path / "a.wav")
    assert not is_array_file(tmp_path / "gone.wav")


def test_units() -> None:
    check_logarithms(MEL, LN)
    check_logarithms(MEL, None)
    check_logarithms(MEL - 3, LN)  # as nets predict
    check_logarithms(MEL[:, :0], LN)
    check_logarithms(MEL * 8.686 - 40, replace(LN, log="log10", log_gain=20))
    check_logarithms(MEL + 9, replace(LN, power=2, epsilon=0))
    for wrong, words in (
        (np.exp(MEL), "magnitudes: take the logarithm"),
        (MEL * 8.686 - 40, "decibels: divide"),
        (MEL + 20, "values from 11"),
        (np.where(MEL > 0.9, np.nan, MEL), "NaN or infinity"),
    ):
        with pytest.raises(InputError, match=words):
            check_logarithms(wrong, LN)


def test_common_logarithms_are_doubted_and_the_cure_works() -> None:
    common = MEL / np.float32(np.log(10))  # -3.9 to 0.4
    with pytest.warns(EdgeWarning, match=r"^a\.npy: mel: got values from -3\.9.*multiply by 2\.302585"):
        doubt_scale(common, LN, "a.npy")
    with strictly(), pytest.raises(InputError, match="taken for natural logarithms"):
        doubt_scale(common, LN)
    doubt_scale(common * 2.302585, LN)
    for fine in (MEL + 0.9, MEL[:, :0], np.full((80, 3), -3.0)):
        doubt_scale(fine, LN)
    for other in (replace(LN, log="log10"), replace(LN, power=2, epsilon=0)):
        doubt_scale(common, other)


def test_as_many_frames_as_bands_are_doubted(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 80, 80), np.float32))
    with pytest.warns(EdgeWarning, match=r"80 × 80 values.*\(bands, frames\) was taken"):
        assert read_mel(tmp_path / "x.npy", 80).shape == (80, 80)


def test_of_several_arrays_the_one_with_these_bands_is_the_mel(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", pitch=MEL[:1], mel=MEL, linear=np.zeros((513, 30), np.float32))
    np.testing.assert_array_equal(read_mel(tmp_path / "x.npz", 80), MEL)


def test_other_scales_are_doubted() -> None:
    standard = (MEL - MEL.mean(1, keepdims=True)) / MEL.std(1, keepdims=True)
    for mel in (standard * 1.5, (MEL + 5), -MEL / np.log(10)):
        with pytest.warns(EdgeWarning, match=r"x\.npy: mel: got .*standardised or scaled"):
            doubt_scale(mel, LN, "x.npy")
    with pytest.warns(EdgeWarning, match=r"got values from -10 to .*floor 1e-10"):
        doubt_scale(np.maximum(2 * MEL, -10), LN)
    doubt_scale((standard * 1.5)[:, :8], LN)  # a few frames may be loud
    doubt_scale(standard * 1.5, replace(LN, floor=0.01))
    doubt_scale(np.full((80, 30), np.log(1e-5)), LN)  # silence


@pytest.mark.parametrize(
    ("mel", "words"),
    [
        (np.exp(MEL), "take the logarithm"),
        ((MEL + 9) / 10, "magnitudes.*or like scaled mels: undo"),
        (2 * MEL - 4, "logarithms of a power .halve them."),
        (8.686 * MEL, "decibels"),
    ],
)
def test_advice_on_units(mel: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_logarithms(mel, LN)
