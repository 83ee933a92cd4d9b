"""MaskedMSEMAE against a recomputation frame by frame in float64 from its description, and its bands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import ConfigError
from edge_training.mri_speech.losses import ORIGIN_BINS, Band, MaskedMSEMAE, bins_of

F64 = NDArray[np.float64]
MEL = PRESETS["rtmri"]


def origins_loss(prediction: F64, target: F64, mask: F64, step: int) -> dict[str, float]:
    """mri2speech's loss, one term at a time."""
    r = min(1.0, step / 120_000)
    band, time = np.ones(64), np.ones(200)
    band[0:6], band[6:16], band[16:32], band[32:48], band[48:] = 2.0, 3.0, 2.4, 1.6, 1.8
    time[:8] = [1.6, 1.45, 1.3, 1.2, 1.15, 1.1, 1.05, 1.02]
    fw, tw = 1 + r * (band - 1), 1 + r * (time - 1)
    e = prediction - target
    clips, frames, _ = e.shape

    sums = dict.fromkeys(("mse", "mae", "delta", "accel", "latest"), 0.0)
    weights = dict.fromkeys(sums, 0.0)

    def add(name: str, value: F64, weight: F64) -> None:
        sums[name] += float((weight * value).sum())
        weights[name] += float(weight.sum())

    for b in range(clips):
        for t in range(frames):
            add("mse", e[b, t] ** 2, fw * tw[t] * mask[b, t])
            add("mae", np.abs(e[b, t]), fw * tw[t] * mask[b, t])
            if t + 1 < frames:
                both = mask[b, t] * mask[b, t + 1]
                add("delta", (e[b, t + 1] - e[b, t]) ** 2, fw * tw[t + 1] * both)
            if t + 2 < frames:
                three = mask[b, t] * mask[b, t + 1] * mask[b, t + 2]
                add("accel", (e[b, t + 2] - 2 * e[b, t + 1] + e[b, t]) ** 2, fw * tw[t + 1] * three)
        add("latest", e[b, -1] ** 2, fw)
    found = {name: sums[name] / max(1e-6, weights[name]) for name in sums}
    found["total"] = (
        found["mse"]
        + (0.30 + 0.15 * r) * found["delta"]
        + (0.10 + 0.05 * r) * found["accel"]
        + (0.20 + 0.20 * r) * found["latest"]
    )
    return found


def batch(frames: int, clips: int = 3, seed: int = 0) -> tuple[F64, F64, F64]:
    draw = np.random.default_rng(seed)
    prediction, target = draw.standard_normal((2, clips, frames, 64))
    mask = (draw.random((clips, frames)) < 0.8).astype(np.float64)
    return prediction, target, mask


@pytest.mark.parametrize("step", [0, 30_000, 120_000, 500_000])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9, 150])
def test_value_for_value(frames: int, step: int) -> None:
    arrays = batch(frames)
    parts = MaskedMSEMAE()(*(torch.from_numpy(array) for array in arrays), step)
    for name, value in origins_loss(*arrays, step).items():
        assert float(getattr(parts, name)) == pytest.approx(value, rel=2e-6), name


def test_what_is_masked_counts_only_in_the_last_frame() -> None:
    prediction, target, _ = batch(6)
    mask = np.ones((3, 6))
    mask[:, 4:] = 0
    loss = MaskedMSEMAE()
    before = loss(*map(torch.from_numpy, (prediction, target, mask)), 0)
    prediction[:, 4] += 100
    after = loss(*map(torch.from_numpy, (prediction, target, mask)), 0)
    assert torch.equal(before.total, after.total)
    prediction[:, 5] += 1
    assert not torch.equal(before.latest, loss(*map(torch.from_numpy, (prediction, target, mask)), 0).latest)


def test_the_mean_absolute_error_is_not_added() -> None:
    """The name promises it, but mri2speech's sum does not contain it."""
    arrays = [torch.from_numpy(array) for array in batch(5)]
    parts = MaskedMSEMAE()(*arrays, 0)
    terms = parts.mse + 0.3 * parts.delta + 0.1 * parts.accel + 0.2 * parts.latest
    torch.testing.assert_close(parts.total, terms)
    assert parts.mae > 0.1


def test_buffers_have_the_origins_names_and_shapes() -> None:
    shapes = {name: tuple(buffer.shape) for name, buffer in MaskedMSEMAE().named_buffers()}
    assert shapes == {
        "freq_base": (1, 1, 64), "freq_target": (1, 1, 64), "time_base": (128,), "time_target": (128,),
    }  # fmt: skip


def test_each_band_is_reported() -> None:
    prediction, target = torch.zeros(2, 3, 64), torch.zeros(2, 3, 64)
    for index, band in enumerate(ORIGIN_BINS):
        prediction[..., band.start : band.stop] = index
    bands = MaskedMSEMAE()(prediction, target, torch.ones(2, 3), 0).bands
    assert {name: float(value) for name, value in bands.items()} == {
        "f0": 0, "f1": 1, "f2": 2, "mid": 3, "high": 4,
    }  # fmt: skip


def test_half_precision_does_not_overflow() -> None:
    parts = MaskedMSEMAE()(torch.full((1, 4, 64), 300.0).half(), torch.zeros(1, 4, 64), torch.ones(1, 4), 0)
    assert float(parts.mse) == pytest.approx(90_000)


# ---- bands in Hz ------------------------------------------------------------------------------------------


def test_formant_bands_are_the_right_slaney_bins() -> None:
    """300 … 900 Hz is 7 … 20 and 900 … 2500 Hz is 21 … 44 of 64 bands to 5706.5 Hz."""
    bins = bins_of((Band("f1", 300, 900, 3.0), Band("f2", 900, 2500, 2.0)), MEL)
    assert [(b.start, b.stop - 1) for b in bins] == [(7, 20), (21, 44)]
    loss = MaskedMSEMAE(64, bins)
    assert loss.freq_target[0, 0, [6, 7, 20, 21, 44, 45]].tolist() == [1, 3, 3, 2, 2, 1]


@pytest.mark.parametrize(
    ("low", "high", "cause"),
    [(6000, 7000, "Nyquist"), (900, 300, "swapped"), (500.0, 500.5, "narrower")],
)
def test_bands_that_hold_no_mel_band(low: float, high: float, cause: str) -> None:
    with pytest.raises(ConfigError, match=f"band 'f9': got {low:g} … {high:g} Hz.*{cause}"):
        bins_of((Band("f9", low, high, 1.0),), MEL)


def test_the_origins_bins_are_of_64_bands() -> None:
    with pytest.raises(ConfigError, match=r"band 'high': got mel bands 48 … 63 of 60.*bands in Hz"):
        MaskedMSEMAE(60)
    assert MaskedMSEMAE(60, bins_of((Band("all", 0, 5000, 2.0),), replace(MEL, n_mels=60))).bins
