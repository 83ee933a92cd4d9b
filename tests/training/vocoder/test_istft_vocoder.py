"""`istft-vocoder`: its inverse STFT against numpy's, its front ends, its geometry, its edges."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import closed_form
from torch import Tensor

from edge_runtime.dsp.magnitude import linear_mel
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import ConfigError
from edge_training.vocoder.istft_vocoder import (
    ISTFT_VOCODER_PRESETS,
    InverseStft,
    IstftVocoder,
    IstftVocoderConfig,
    Prior,
    Quartered,
    Whole,
)

MEL = replace(
    PRESETS["hifigan-22k"], sample_rate=8000, n_fft=64, win_length=64, hop_length=16, n_mels=12, fmax=None
)
TINY = IstftVocoderConfig(mel=MEL, width=8, expansion=2, blocks=2, kernel=3, embed_kernel=3)


def loud_net(config: IstftVocoderConfig) -> IstftVocoder:
    """Random weights, large enough that every path through the net shows in its output."""
    torch.manual_seed(5)
    net = IstftVocoder(config).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def some_mel(config: IstftVocoderConfig, frames: int) -> Tensor:
    draw = np.random.default_rng(frames)
    return torch.from_numpy(draw.uniform(-8, 0, (1, config.mel.bands, frames)))


# ---- golden arrays (reference_data, recomputed in numpy in float64) ---------------------------------------

FOLDER = Path(__file__).parents[3] / "reference_data"
GOLDENS = json.loads((FOLDER / "manifest.json").read_text())["nets"]["istft-vocoder"]
GOLDEN_MEL = replace(MEL, hop_length=16, n_mels=8, epsilon=0.0)


@pytest.mark.parametrize("case", sorted(GOLDENS))
def test_goldens(case: str) -> None:
    golden, folder = GOLDENS[case], FOLDER / "nets" / "istft-vocoder" / case
    config = dict(golden["config"])
    mel = replace(GOLDEN_MEL, **config.pop("mel"))
    net = IstftVocoder(IstftVocoderConfig(mel=mel, **config)).double().eval()
    names = {key: f"{key}.weight" if key.endswith("gamma") else key for key in net.state_dict()}
    state = {
        key: torch.from_numpy(closed_form.tensor(names[key], tensor.shape)).double()
        for key, tensor in net.state_dict().items()
    }
    net.load_state_dict(state)
    assert {key: list(value.shape) for key, value in state.items()} == golden["keys"]
    given, expected = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("mel", "audio"))
    with torch.inference_mode():
        audio = net(given.double())
    assert audio.shape == expected.shape
    # constants of the transforms are kept in float32
    assert (audio - expected).abs().max() < 3e-6 * expected.abs().max()


# ---- inverse STFT -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_fft", [4, 8, 12, 64, 7, 9, 10])
def test_products_are_the_inverse_transform(n_fft: int) -> None:
    draw = np.random.default_rng(n_fft)
    real, imag = draw.standard_normal((2, 2, n_fft // 2 + 1, 3))
    transform = (Quartered(n_fft) if n_fft % 4 == 0 else Whole(n_fft)).double()
    ours = transform(torch.from_numpy(real), torch.from_numpy(imag)).numpy()
    theirs = np.fft.irfft(real + 1j * imag, n_fft, axis=1)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)  # the constants are float32


@pytest.mark.parametrize(
    "framing", [(64, 16, 64), (64, 16, 48), (64, 21, 64), (63, 16, 63), (66, 20, 66), (64, 32, 64)]
)
def test_equals_the_runtimes_inverse(framing: tuple[int, int, int]) -> None:
    """A signal comes back from its own spectrum, edges included, whatever the framing."""
    n_fft, hop, window = framing
    mel = replace(MEL, n_fft=n_fft, hop_length=hop, win_length=window)
    config = replace(TINY, mel=mel)
    signal = np.random.default_rng(1).standard_normal(9 * hop)
    padded = np.pad(signal, (config.trim, n_fft - hop - config.trim), mode="reflect")
    spectrum = Stft(replace(mel, padding="none").stft, "float64").forward(padded)
    parts = (np.log(np.abs(spectrum)), np.cos(np.angle(spectrum)), np.sin(np.angle(spectrum)))
    inverse = InverseStft(mel, config.trim).double()
    audio = inverse(*(torch.from_numpy(part)[None] for part in parts))
    assert audio.shape == (1, 1, signal.size)
    np.testing.assert_allclose(audio[0, 0].numpy(), signal, rtol=0, atol=2e-6)


# ---- the prior --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hifigan-22k", "auffusion", "talking-head", "ecog-256", "rtmri"])
def test_every_logarithm_is_undone(name: str) -> None:
    """The bands that the prior starts from are those of the runtime's `linear_mel`."""
    mel = PRESETS[name]
    audio = 0.3 * np.random.default_rng(0).standard_normal(4 * mel.n_fft)
    values = MelFrontEnd(replace(mel, peak=None), "float64")(audio)
    features, _ = Prior(mel, all_bins=False).double()(torch.from_numpy(values)[None])
    natural = (features[0].numpy() * 3 - 5) * mel.power
    np.testing.assert_allclose(natural, np.log(linear_mel(values, mel)), rtol=0, atol=1e-9)


def test_pre_emphasis_and_powers_are_undone() -> None:
    """The prior's magnitudes are about those of the signal itself: its slope, and its level."""
    mel = replace(MEL, pre_emphasis=0.9, power=2, epsilon=0.0)
    audio = 0.1 * np.random.default_rng(0).standard_normal(400 * 16)
    values = torch.from_numpy(MelFrontEnd(mel, "float64")(audio))[None]
    _, prior = Prior(mel, all_bins=True).double()(values)
    truth = np.log(np.abs(Stft(mel.stft, "float64").forward(audio)) + 1e-9)
    means = prior[0].numpy()[2:-2].mean(axis=1), truth[2:-2].mean(axis=1)
    assert np.abs(means[0] - means[1]).max() < 0.7  # 3.7 without it, at the lowest of these bins
    assert abs(means[0].mean() - means[1].mean()) < 0.35


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"log": "none"}, "mel: log: got none, expected a logarithm"),
        ({"n_mels": None}, "mel: n_mels: got null"),
        ({"standardize": True}, "mel: standardize: got true, expected false: its mels have no level"),
        ({"spectrum_range_db": 80.0}, "mel: spectrum_range_db: got 80.0"),
        ({"hop_length": 40}, "mel: hop_length: got 40 of windows of 64, expected at most half a window"),
    ],
)
def test_front_ends_that_say_too_little_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        replace(TINY, mel=replace(MEL, **changes))


# ---- geometry ---------------------------------------------------------------------------------------------

CONFIGS = st.builds(
    lambda kernel, embed, blocks, ahead, framing: IstftVocoderConfig(
        mel=replace(MEL, n_fft=framing[0], hop_length=framing[1], win_length=framing[2]),
        width=6, expansion=1, blocks=blocks, kernel=kernel, embed_kernel=embed,
        look_ahead=None if ahead is None else min(ahead, embed - 1 + blocks * (kernel - 1)),
    ),
    st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5]), st.integers(1, 2),
    st.sampled_from([None, 0, 1, 2, 3]), st.sampled_from([(64, 16, 64), (64, 21, 64), (64, 16, 32)]),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(config=CONFIGS)
def test_a_frame_reaches_as_far_as_the_geometry_says(config: IstftVocoderConfig) -> None:
    """Changing one frame changes the samples of `context_after` frames before to `context_before` after."""
    net, hop = loud_net(config), config.hop_length
    before, after = config.context_before, config.context_after
    place = after + 1
    mel = some_mel(config, after + before + 3)
    other = mel.clone()
    other[:, :, place] += 2.0
    with torch.inference_mode():
        change = (net(mel) - net(other)).abs()[0, 0].reshape(-1, hop).amax(dim=1).numpy()
    assert np.flatnonzero(change > 1e-12).tolist() == list(range(place - after, place + before + 1))


@settings(max_examples=25, deadline=None)
@given(config=CONFIGS, cut=st.integers(0, 12), length=st.integers(1, 9))
def test_a_chunk_with_its_context_is_the_whole(config: IstftVocoderConfig, cut: int, length: int) -> None:
    net, hop = loud_net(config), config.hop_length
    mel = some_mel(config, cut + length + 6)
    start = max(0, cut - config.context_before)
    stop = min(mel.shape[2], cut + length + config.context_after)
    with torch.inference_mode():
        whole, chunk = net(mel)[0, 0], net(mel[:, :, start:stop])[0, 0]
    ours = chunk[(cut - start) * hop : (cut - start + length) * hop]
    torch.testing.assert_close(ours, whole[cut * hop : (cut + length) * hop], rtol=0, atol=1e-12)


def test_presets_reach_as_far_as_published() -> None:
    reach = {name: (c.context_before, c.context_after) for name, c in ISTFT_VOCODER_PRESETS.items()}
    assert reach["lj-22k"] == (29, 29)
    assert reach["streaming-22k"] == (20, 4)
    latency = 4 * 256 / 22050
    assert latency < 0.060


def test_sizes_of_presets() -> None:
    """Weights are what the count of products says, beside biases, norms and the parts without weights."""
    for name, parameters in {"lj-22k": 4_635_907, "small-22k": 928_003, "streaming-22k": 2_653_635}.items():
        config = ISTFT_VOCODER_PRESETS[name]
        net = IstftVocoder(config)
        assert sum(parameter.numel() for parameter in net.parameters()) == parameters
        weights = sum(p.numel() for key, p in net.named_parameters() if key.endswith("weight") and p.ndim > 1)
        constants = sum(b.numel() for key, b in net.named_buffers() if "pinv" in key or "sines" in key)
        assert config.multiplications() == weights + constants


@pytest.mark.parametrize(
    ("padding", "first"), [("reflect", 0), ("none", 24), ("center-reflect", -8), ("center-zero", -8)]
)
def test_where_the_audio_begins(padding: Any, first: int) -> None:
    """An impulse's frames say where frame 0 lies, and with it where audio of T frames begins."""
    mel = replace(MEL, padding=padding)
    config = replace(TINY, mel=mel)
    assert config.first_sample == first
    recording = np.zeros(40 * 16)
    recording[321] = 1.0
    energy = np.exp(MelFrontEnd(mel, "float64")(recording)).sum(axis=0)
    centre = (energy * np.arange(energy.size)).sum() / energy.sum()  # frame t is centred at t · hop + hop / 2
    assert abs(centre * 16 + 8 + config.first_sample - 321) < 2.5


# ---- edges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
@pytest.mark.parametrize("name", sorted(ISTFT_VOCODER_PRESETS))
def test_any_length_gives_whole_frames(name: str, frames: int) -> None:
    config = ISTFT_VOCODER_PRESETS[name]
    with torch.inference_mode():
        audio = narrow(name)(torch.full((2, config.mel.bands, frames), -3.0))
    assert audio.shape == (2, 1, frames * config.hop_length)
    assert torch.isfinite(audio).all()


def narrow(name: str) -> IstftVocoder:
    """A preset's framing and reach with the fewest channels."""
    torch.manual_seed(1)
    return IstftVocoder(replace(ISTFT_VOCODER_PRESETS[name], width=4, expansion=1)).eval()


def test_silence_is_quiet_and_a_tone_has_its_level() -> None:
    """With a net that says nothing yet the prior alone decides the level, at the ends too."""
    net = narrow("lj-22k")
    floor = float(np.log(1e-5))
    with torch.inference_mode():
        silence = net(torch.full((1, 80, 20), floor))
        tone = 0.95 * np.sin(2 * np.pi * 500 * np.arange(20 * 256) / 22050)
        mel = MelFrontEnd(PRESETS["hifigan-22k"])(tone.astype(np.float32))
        log_magnitude, cosine, sine = net.spectrum(torch.from_numpy(mel)[None])
        extremes = net(torch.full((1, 80, 3), 40.0))  # beyond any sound
    assert silence.abs().max() < 1e-3
    torch.testing.assert_close(cosine**2 + sine**2, torch.ones_like(cosine), rtol=0, atol=0.05)
    loudest = log_magnitude[0].amax(dim=0).numpy()
    assert np.abs(loudest - np.log(0.95 * 256)).max() < 1.0  # of a Hann window's sum, 512, a half
    assert torch.isfinite(extremes).all()


def test_the_ceiling_holds() -> None:
    net = IstftVocoder(replace(TINY, ceiling=-2.0))
    with torch.inference_mode():
        log_magnitude, _, _ = net.spectrum(torch.full((1, 12, 4), 3.0))
    assert float(log_magnitude.max()) == -2.0


def test_without_a_prior_the_bins_are_the_nets_alone() -> None:
    net = IstftVocoder(replace(TINY, prior=False))
    assert net.embed.in_channels == 12
    assert net(torch.zeros(1, 12, 5)).shape == (1, 1, 80)


# ---- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ISTFT_VOCODER_PRESETS))
def test_config_round_trip(name: str) -> None:
    config = ISTFT_VOCODER_PRESETS[name]
    assert IstftVocoderConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 0}, "width: got 0, expected a positive whole number"),
        ({"kernel": 4}, "kernel: got 4, expected an odd number"),
        ({"look_ahead": -1}, "look_ahead: got -1, expected a whole number of frames, or null"),
        ({"look_ahead": 7}, "look_ahead: got 7 frames, expected at most 6"),
        ({"ceiling": 40.0}, "ceiling: got 40.0"),
        ({"prior": 1}, "prior: got 1, expected true or false"),
    ],
)
def test_impossible_numbers_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        replace(TINY, **changes)


def test_foreign_entries_are_refused() -> None:
    with pytest.raises(ConfigError, match="entry 'widht': got an unknown entry"):
        IstftVocoderConfig.from_json({"widht": 3})
    with pytest.raises(ConfigError, match="mel: got 3"):
        IstftVocoderConfig.from_json({"mel": 3})


def test_names_of_the_state() -> None:
    """Checkpoints depend on them."""
    assert sorted(IstftVocoder(replace(TINY, blocks=1)).state_dict()) == sorted(
        [f"{layer}.{kind}" for layer in ("embed", "norm", "last", "head") for kind in ("weight", "bias")]
        + [
            f"blocks.0.{layer}.{kind}"
            for layer in ("dw", "norm", "up", "down")
            for kind in ("weight", "bias")
        ]
        + ["blocks.0.gamma"]
    )


def test_any_front_end_with_a_logarithm_works() -> None:
    """Framings that divide and that do not, powers, decibels, scales."""
    for mel in (m for m in PRESETS.values() if m.log != "none"):
        _runs(mel)


def _runs(mel: MelConfig) -> None:
    net = IstftVocoder(IstftVocoderConfig(mel=mel, width=2, expansion=1, blocks=1))
    with torch.inference_mode():
        audio = net(torch.zeros(1, mel.bands, 3))
    assert audio.shape == (1, 1, 3 * mel.hop_length)
