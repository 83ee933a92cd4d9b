"""BigVGAN against a float64 forward pass in numpy, written from the release's arithmetic on its own keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import kaiser_atten, kaiser_beta

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.vocoder.bigvgan import BIGVGAN_PRESETS, BigVgan, BigVganConfig, low_pass
from edge_training.weights.loading import load_net
from edge_training.weights.recognition import resemblance

F64 = NDArray[np.float64]
TINY = BIGVGAN_PRESETS["tiny"]
# as in NVIDIA's config.json of bigvgan_v2_22khz_80band_256x, entries of training included
PUBLISHED = json.loads("""{
    "resblock": "1", "num_gpus": 0, "batch_size": 4, "learning_rate": 0.0001, "adam_b1": 0.8,
    "adam_b2": 0.99, "lr_decay": 0.9999996, "seed": 1234, "upsample_rates": [4,4,2,2,2,2],
    "upsample_kernel_sizes": [8,8,4,4,4,4], "upsample_initial_channel": 1536,
    "resblock_kernel_sizes": [3,7,11], "resblock_dilation_sizes": [[1,3,5], [1,3,5], [1,3,5]],
    "use_tanh_at_final": false, "use_bias_at_final": false, "activation": "snakebeta",
    "snake_logscale": true, "use_cqtd_instead_of_mrd": true, "mpd_reshapes": [2, 3, 5, 7, 11],
    "use_spectral_norm": false, "discriminator_channel_mult": 1, "lambda_melloss": 15,
    "clip_grad_norm": 500, "segment_size": 65536, "num_mels": 80, "num_freq": 1025, "n_fft": 1024,
    "hop_size": 256, "win_size": 1024, "sampling_rate": 22050, "fmin": 0, "fmax": null,
    "fmax_for_loss": null, "normalize_volume": true, "num_workers": 4
}""")


def config(**changes: Any) -> BigVganConfig:
    return replace(TINY, **changes)


def published_state(settings: BigVganConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the published names: weight norm by g and v, taps of every low-pass."""
    torch.manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in BigVgan(settings).state_dict().items():
        if name.endswith(".weight"):
            size = tuple(tensor.shape[:1]) + (1,) * (tensor.ndim - 1)
            loud = 0.1 if name.startswith("conv_post") else 1.0  # most samples within full scale
            state[name + "_g"] = loud * (torch.rand(size) + 0.5)
            state[name + "_v"] = torch.randn(tensor.shape)
        elif name.endswith((".alpha", ".beta")):
            state[name] = tensor + 0.4 * torch.randn(tensor.shape)
        else:
            state[name] = tensor if name.endswith("filter") else 0.1 * torch.randn(tensor.shape)
    return state


# ---- the release's arithmetic, in float64 -----------------------------------------------------------------


def taps() -> F64:
    """A sinc in the window that scipy's forms of Kaiser's rules give."""
    beta = kaiser_beta(kaiser_atten(6, 4 * 0.3))
    found = np.kaiser(12, beta) * np.sinc(0.5 * (np.arange(12) - 5.5))
    return np.asarray(found / found.sum())


def conv(x: F64, weight: F64, bias: F64 | None, dilation: int = 1) -> F64:
    """(C, N) → (O, N), zeros around."""
    reach = (weight.shape[2] - 1) * dilation // 2
    padded = np.pad(x, ((0, 0), (reach, reach)))
    out = sum(
        weight[:, :, k] @ padded[:, k * dilation : k * dilation + x.shape[1]] for k in range(weight.shape[2])
    )
    return np.asarray(out + (0 if bias is None else bias[:, None]))


def transposed(x: F64, weight: F64, bias: F64, rate: int) -> F64:
    """(C, N) → (O, N · rate)."""
    kernel = weight.shape[2]
    full = np.zeros((weight.shape[1], (x.shape[1] - 1) * rate + kernel))
    for n in range(x.shape[1]):
        full[:, n * rate : n * rate + kernel] += np.einsum("c,cok->ok", x[:, n], weight)
    cut = (kernel - rate) // 2
    return np.asarray(full[:, cut : cut + x.shape[1] * rate] + bias[:, None])


def activation(x: F64, alpha: F64, beta: F64) -> F64:
    """Zeros between the samples, low-pass, snake, low-pass, every second sample."""
    stuffed = np.zeros((len(x), 2 * (x.shape[1] + 10)))
    stuffed[:, ::2] = np.pad(x, ((0, 0), (5, 5)), mode="edge")
    fast = np.stack([2 * np.convolve(row, taps()) for row in stuffed])[:, 15 : 15 + 2 * x.shape[1]]
    bent = fast + np.sin(alpha[:, None] * fast) ** 2 / (beta[:, None] + 1e-9)
    padded = np.pad(bent, ((0, 0), (5, 6)), mode="edge")
    return np.stack([np.convolve(row, taps()[::-1], "valid")[::2] for row in padded])


def forward(state: dict[str, torch.Tensor], c: BigVganConfig, mel: F64) -> F64:
    """(num_mels, T) → (T · hop,)."""

    def folded(name: str) -> tuple[F64, F64 | None]:
        g, v = (state[f"{name}.weight_{part}"].double().numpy() for part in "gv")
        norm = np.sqrt((v**2).sum(axis=tuple(range(1, v.ndim)), keepdims=True))
        bias = state.get(f"{name}.bias")
        return g * v / norm, None if bias is None else bias.double().numpy()

    def act(x: F64, name: str) -> F64:
        alpha = state[f"{name}.act.alpha"].double().numpy()
        beta = state[f"{name}.act.beta"].double().numpy() if c.activation == "snakebeta" else alpha
        return activation(x, *((np.exp(alpha), np.exp(beta)) if c.snake_logscale else (alpha, beta)))

    x = conv(mel, *folded("conv_pre"))
    blocks = len(c.resblock_kernel_sizes)
    for stage, rate in enumerate(c.upsample_rates):
        weight, bias = folded(f"ups.{stage}.0")
        assert bias is not None
        x = transposed(x, weight, bias, rate)
        total = np.zeros_like(x)
        for place, dilations in enumerate(c.resblock_dilation_sizes):
            name, y = f"resblocks.{stage * blocks + place}", x
            for d, dilation in enumerate(dilations):
                if c.resblock == 1:
                    t = conv(act(y, f"{name}.activations.{2 * d}"), *folded(f"{name}.convs1.{d}"), dilation)
                    y = y + conv(act(t, f"{name}.activations.{2 * d + 1}"), *folded(f"{name}.convs2.{d}"))
                else:
                    y = y + conv(act(y, f"{name}.activations.{d}"), *folded(f"{name}.convs.{d}"), dilation)
            total = total + y
        x = total / blocks
    x = conv(act(x, "activation_post"), *folded("conv_post"))[0]
    return np.asarray(np.tanh(x) if c.use_tanh_at_final else np.clip(x, -1, 1))


PAIRS = config(resblock=1, resblock_dilation_sizes=((1, 3, 5), (1, 2, 3)))
CASES = {
    "v2": PAIRS,
    "v1": replace(PAIRS, use_tanh_at_final=True, use_bias_at_final=True),
    "snake, block 2, no logarithm": config(activation="snake", snake_logscale=False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_published_checkpoint_computes_what_the_release_computes(tmp_path: Path, name: str) -> None:
    settings = CASES[name]
    state = published_state(settings)
    if not settings.snake_logscale:
        state = {key: tensor.abs() + 0.3 if "alpha" in key else tensor for key, tensor in state.items()}
    torch.save({"generator": state}, tmp_path / "bigvgan_generator.pt")
    entries = settings.to_json() | {"resblock": str(settings.resblock), "mpd_reshapes": [2, 3], "fmin": 0}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    mel = np.random.default_rng(0).uniform(-9, 1, (8, 9))
    loaded = load_net(tmp_path / "bigvgan_generator.pt")  # recognised by its keys
    with torch.no_grad():
        made = loaded.module(torch.from_numpy(mel).float()[None])[0, 0].numpy()
    truth = forward(state, settings, mel)
    assert 0.05 < np.abs(truth).mean() < 0.8
    np.testing.assert_allclose(made, truth, rtol=0, atol=1e-5)
    assert any("mpd_reshapes" in sentence for sentence in loaded.said)


def test_the_low_pass_is_kaisers() -> None:
    np.testing.assert_allclose(low_pass().numpy(), taps(), atol=1e-7)
    assert float(low_pass().sum()) == pytest.approx(1)


def test_files_without_taps_load(tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in published_state(TINY).items() if not key.endswith("filter")}
    torch.save({"generator": state}, tmp_path / "g.pt")
    net = load_net(tmp_path / "g.pt", "bigvgan", TINY).module
    assert torch.equal(net.activation_post.upsample.filter[0, 0], low_pass())


def test_published_configurations_are_the_presets() -> None:
    said: list[str] = []
    from edge_training.weights.nets import loadable

    assert loadable("bigvgan").read_entries(PUBLISHED, said) == BIGVGAN_PRESETS["v2-22k"]
    assert "batch_size" in said[0]
    for preset in BIGVGAN_PRESETS.values():
        assert BigVganConfig.from_json(json.loads(json.dumps(preset.to_json()))) == preset


def test_the_stated_context_is_enough() -> None:
    """A frame beyond it changes no sample; one of the nearest of half of it does."""
    net, context = BigVgan(PAIRS).eval(), PAIRS.context_frames
    mel = torch.zeros(1, 8, 2 * context + 3)
    far = mel.clone()
    far[..., 0] = far[..., -1] = 3.0  # context + 1 frames from the middle
    near = mel.clone()
    near[..., context // 2 + 1] = 3.0
    middle = slice((context + 1) * 16, (context + 2) * 16)
    with torch.no_grad():
        quiet, a, b = (net(x)[0, 0, middle] for x in (mel, far, near))
    assert torch.equal(quiet, a)
    assert not torch.equal(quiet, b)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation": "relu"}, "activation: got 'relu', expected 'snake' or 'snakebeta'"),
        ({"snake_logscale": 1}, "snake_logscale: got 1, expected true or false"),
        ({"upsample_rates": (4, 5)}, "upsample_rates"),
        ({"resblock": 3}, "resblock: got 3"),
        ({"fmax": 9000.0}, "fmax: got 9000 Hz"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(**changes)


def test_weights_of_the_relatives_are_told_apart(tmp_path: Path) -> None:
    torch.save({"generator": published_state(TINY)}, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=r"BigVGAN, .*: the net bigvgan"):
        load_net(tmp_path / "g.pt", "hifigan", preset="v3")
    with pytest.raises(ConfigError, match=r"entry 'snake_logscale': .*it is the net bigvgan here"):
        load_net(tmp_path / "g.pt", "hifigan", PUBLISHED)


def test_without_a_configuration_the_presets_that_fit_are_named(tmp_path: Path) -> None:
    torch.save({"generator": published_state(TINY)}, tmp_path / "g.pt")
    with pytest.raises(ConfigError, match=r"its shapes are those of preset tiny$"):
        load_net(tmp_path / "g.pt")
    with torch.device("meta"):
        state = BigVgan(BIGVGAN_PRESETS["v2-22k"]).state_dict()
    assert resemblance(state, "bigvgan") == "its shapes are those of preset v2-22k or v2-22k-fmax8k"
