"""The light net of mel inversion: its start against the runtime's estimate, its size, its locality."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edge_runtime.dsp.magnitude import estimate_magnitude
from edge_runtime.dsp.mel import PRESETS, filter_bank
from edge_runtime.dsp.quality import spectral_convergence
from edge_runtime.errors import ConfigError
from edge_training.mel_inversion import light as mel_inversion_light
from edge_training.mel_inversion.light import (
    CONTEXT_FRAMES,
    FLOOR,
    SCALE,
    UPDATES_BEFORE,
    MelInversionLight,
    Updates,
)
from edge_training.mel_inversion.pinv_conv_skip import (
    MEL_INVERSION_PRESETS,
    MelInversionConfig,
    build_mel_inversion,
)

MEL = PRESETS["hifigan-22k"]


def harmonics(frames: int = 40) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Magnitude (bins, frames) of a gliding voice: Gaussian peaks that fall with frequency."""
    pitch = np.linspace(9, 12, frames)  # bins
    k = np.arange(513)[:, None]
    distance = (k / pitch + 0.5) % 1 - 0.5
    return np.asarray(30 * np.exp(-0.5 * (distance * pitch / 1.2) ** 2) * np.exp(-k / 60) + 1e-3)


def log_mel(magnitude: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> torch.Tensor:
    return torch.from_numpy(np.log(np.maximum(filter_bank(MEL) @ magnitude, MEL.floor))).float()[None]


def started(mel: torch.Tensor) -> torch.Tensor:
    """ln of the magnitude (bins, frames) before the convolutions."""
    updates = Updates(MEL)
    target, _ = updates.start(mel)
    q: torch.Tensor = updates(target, target, UPDATES_BEFORE)[0]
    return q.log() - math.log(SCALE)


@pytest.fixture(scope="module")
def net() -> MelInversionLight:
    torch.manual_seed(0)
    return MelInversionLight(MEL).eval()


def test_updates_lead_where_the_runtimes_lead() -> None:
    truth = harmonics()
    linear = filter_bank(MEL) @ truth
    covered = filter_bank(MEL).any(axis=0)
    ours = started(log_mel(truth)).exp().double().numpy()[covered]
    theirs = estimate_magnitude(linear, MEL, 50)[covered]
    reached = filter_bank(MEL)[:, covered] @ ours
    assert spectral_convergence(linear, reached) < 0.006  # it has the mel that was asked for
    assert spectral_convergence(truth[covered], ours) < spectral_convergence(truth[covered], theirs) + 0.01


def test_bins_beyond_the_bank_start_at_its_last() -> None:
    updates = Updates(MEL)
    target, _ = updates.start(log_mel(harmonics()))
    last = int(np.flatnonzero(filter_bank(MEL).any(axis=0)).max())
    assert last == 371
    assert torch.allclose(target[0, last:], target[0, last])
    q = torch.rand(1, 513, 40) + 0.5
    moved = updates(q, target, 3)
    assert torch.equal(moved[0, last + 1 :], q[0, last + 1 :])
    assert not torch.allclose(moved[0, : last + 1], q[0, : last + 1])


def test_the_mel_is_kept_whatever_the_net_says(net: MelInversionLight) -> None:
    mel = log_mel(harmonics())
    with torch.no_grad():
        before = net.scatter.weight.clone()
        net.scatter.weight.mul_(20)
        linear = filter_bank(MEL) @ net(mel)[0].exp().double().numpy()
        net.scatter.weight.copy_(before)
    assert spectral_convergence(mel[0].exp().double().numpy(), linear) < 0.03


def test_silence_and_the_loudest_are_finite(net: MelInversionLight) -> None:
    for value in (np.log(1e-5), 8.0):
        made = net(torch.full((1, 80, 9), float(value))).detach()
        assert torch.isfinite(made).all()
        assert float(made.min()) >= np.float32(np.log(FLOOR))


def test_float16_stays_finite_on_mels_of_samples_that_were_never_scaled() -> None:
    """int16 taken for floats: 10.4 more in ln, where float16 would have gone from infinity to NaN."""
    updates = Updates(MEL).half()
    target, _ = updates.start((log_mel(harmonics()) + math.log(32768)).half())
    assert updates(target, target, UPDATES_BEFORE).isfinite().all()


def test_size_is_what_the_docstring_says(net: MelInversionLight) -> None:
    parameters = sum(parameter.numel() for parameter in net.parameters())
    frames = 20
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 80, frames))
    macs = counter.get_total_flops() / 2 / frames * MEL.sample_rate / MEL.hop_length
    assert f"{parameters:,} parameters; {macs / 1e9:.2f} GMAC" in str(mel_inversion_light.__doc__)
    assert parameters < 500_000
    assert macs < 2e9


def test_a_frame_depends_on_its_context_alone(net: MelInversionLight) -> None:
    """By the gradient: what the outermost frames add is too little to be seen in a difference."""
    mel = log_mel(harmonics(60)).requires_grad_()
    net(mel)[..., 30].sum().backward()
    assert mel.grad is not None
    sensitivity = mel.grad.abs().amax((0, 1))
    assert MelInversionConfig("light", mel=MEL).context_frames == CONTEXT_FRAMES
    assert not sensitivity[: 30 - CONTEXT_FRAMES].any()
    assert not sensitivity[31 + CONTEXT_FRAMES :].any()
    assert (sensitivity[30 - CONTEXT_FRAMES : 31 + CONTEXT_FRAMES] > 0).all()


def test_every_parameter_learns(net: MelInversionLight) -> None:
    training = MelInversionLight(MEL)
    training(log_mel(harmonics())).square().mean().backward()
    for name, parameter in training.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name
    assert not net.training


def test_other_transforms_of_whole_groups() -> None:
    mel = replace(MEL, n_fft=64, win_length=64, hop_length=16, n_mels=12)
    net = build_mel_inversion(MelInversionConfig("light", mel=mel))
    assert net(torch.zeros(2, 12, 5)).shape == (2, 33, 5)
    odd = replace(MEL, n_fft=100, win_length=100, hop_length=25, n_mels=12)
    with pytest.raises(ConfigError, match="n_fft 100 with variant 'light', expected a multiple of 8"):
        MelInversionConfig("light", mel=odd)
    with pytest.raises(ConfigError, match="'light' with domain 'db', expected domain 'log'"):
        MelInversionConfig("light", "db", PRESETS["mel-inversion-db"])


def test_preset_is_on_the_mel_of_vocoders() -> None:
    config = MEL_INVERSION_PRESETS["light"]
    assert config.mel == MEL
    assert isinstance(build_mel_inversion(config), MelInversionLight)
    assert MelInversionConfig.from_json(config.to_json()) == config
