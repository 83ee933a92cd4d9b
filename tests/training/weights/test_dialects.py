"""Every dialect against its toolkit's own arithmetic: weights, configuration, statistics, ends."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tests.small_weights import save
from tests.toolkit_hifigans import BANDS, CHANNELS, DILATIONS, KERNELS, TOOLKITS, State, forward, mel, weights

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.weights.dialects import DIALECTS, Source, translate
from edge_training.weights.loading import LoadedNet, load_net

TOLERANCE = 1e-5
NAMES = {
    "parallel-wavegan": "ParallelWaveGAN",
    "parallel-wavegan-single": "ParallelWaveGAN",
    "nemo": "NeMo",
    "speechbrain": "SpeechBrain",
    "transformers": "transformers' SpeechT5HifiGan",
}
SIZES: dict[str, Any] = {
    "upsample_initial_channel": CHANNELS,
    "resblock_kernel_sizes": list(KERNELS),
    "resblock_dilation_sizes": [list(row) for row in DILATIONS],
}


def hop(name: str) -> int:
    return int(np.prod(TOOLKITS[name].rates))


def stock(name: str) -> dict[str, Any]:
    """HiFi-GAN's own config.json of the same net."""
    toolkit = TOOLKITS[name]
    dilations = [list(row)[: 3 if toolkit.pairs else 2] for row in DILATIONS]
    return SIZES | {
        "resblock": "1" if toolkit.pairs else "2", "upsample_rates": list(toolkit.rates),
        "upsample_kernel_sizes": list(toolkit.kernels), "resblock_dilation_sizes": dilations,
        "num_mels": BANDS, "n_fft": 4 * hop(name), "hop_size": hop(name), "win_size": 4 * hop(name),
        "sampling_rate": 8000, "fmin": 0, "fmax": None,
    }  # fmt: skip


def coqui(**audio: Any) -> dict[str, Any]:
    return {
        "model": "hifigan", "generator_model": "hifigan_generator", "run_name": "x",
        "audio": {
            "fft_size": 96, "win_length": 96, "hop_length": 24, "sample_rate": 8000, "num_mels": BANDS,
            "mel_fmin": 0, "mel_fmax": 4000, "log_func": "np.log", "spec_gain": 1,
            "signal_norm": False, **audio,
        },
        "generator_model_params": {
            "resblock_type": "1", "upsample_factors": [4, 3, 2], "upsample_kernel_sizes": [8, 5, 4], **SIZES,
        },
    }  # fmt: skip


def parallel_wavegan(name: str = "parallel-wavegan", **net: Any) -> str:
    """As YAML."""
    toolkit, size = TOOLKITS[name], hop(name)
    dilations = [list(row)[: 3 if toolkit.pairs else 2] for row in DILATIONS]
    params = {
        "in_channels": BANDS, "out_channels": 1, "channels": CHANNELS, "kernel_size": 7,
        "upsample_scales": list(toolkit.rates), "upsample_kernel_sizes": list(toolkit.kernels),
        "resblock_kernel_sizes": list(KERNELS), "resblock_dilations": dilations,
        "use_additional_convs": toolkit.pairs, "bias": True, "nonlinear_activation": "LeakyReLU",
        "nonlinear_activation_params": {"negative_slope": 0.1}, "use_weight_norm": True, **net,
    }  # fmt: skip
    entries = {
        "sampling_rate": 8000, "fft_size": 4 * size, "hop_size": size, "win_length": None, "num_mels": BANDS,
        "fmin": 80, "fmax": 3800, "generator_type": "HiFiGANGenerator", "generator_params": params,
        "discriminator_params": {"periods": [2, 3]}, "batch_size": 16,
    }  # fmt: skip
    return "# of the trainer\n" + json.dumps(entries)


NEMO: dict[str, Any] = {
    "generator": {"_target_": "nemo.Generator", "resblock": 1, "upsample_rates": [4, 3, 2],
                  "upsample_kernel_sizes": [8, 5, 4], **SIZES},
    "preprocessor": {"nfilt": BANDS, "lowfreq": 0, "highfreq": None, "n_fft": 96, "n_window_size": 96,
                     "n_window_stride": 24, "pad_to": 0, "exact_pad": True, "sample_rate": 8000,
                     "normalize": None, "preemph": None, "dither": 0.0, "log": True,
                     "log_zero_guard_type": "clamp", "log_zero_guard_value": 1e-05, "mag_power": 1.0},
}  # fmt: skip
SPEECHBRAIN = f"""
sample_rate: 8000
hop_length: 24
win_length: 96
n_fft: 96
n_mel_channels: {BANDS}
mel_fmin: 0.0
mel_fmax: 4000
resblock_type: "1"
factors: [4, 3, 2]
generator: !new:speechbrain.lobes.models.HifiGAN.HifiganGenerator
    in_channels: !ref <n_mel_channels>
    out_channels: 1
    resblock_type: !ref <resblock_type>
    resblock_dilation_sizes: {[list(row) for row in DILATIONS]}
    resblock_kernel_sizes: {list(KERNELS)}
    upsample_kernel_sizes: [8, 5, 4]
    upsample_initial_channel: {CHANNELS}
    upsample_factors: !ref <factors>
    inference_padding: 5
modules:
    generator: !ref <generator>
"""


def transformers(**entries: Any) -> dict[str, Any]:
    return {
        "architectures": ["SpeechT5HifiGan"], "model_type": "hifigan", "model_in_dim": BANDS,
        "normalize_before": True, "leaky_relu_slope": 0.1, "sampling_rate": 8000, "upsample_rates": [4, 3, 2],
        "upsample_kernel_sizes": [8, 5, 4], **SIZES, **entries,
    }  # fmt: skip


# where each toolkit puts its weights, and its configuration
PLACES: Mapping[str, Callable[[State], object]] = {
    "coqui": lambda state: {"model": {f"model_g.{k}": v for k, v in state.items()}, "step": 5},
    "parallel-wavegan": lambda state: {"model": {"generator": state}, "optimizer": {}, "steps": 5},
    "parallel-wavegan-single": lambda state: {"model": {"generator": state}, "steps": 5},
    "nemo": lambda state: (
        {f"generator.{k}": v for k, v in state.items()}
        | {"audio_to_melspec_precessor.fb": torch.ones(1, BANDS, 49)}
    ),
    "speechbrain": lambda state: state,
    "transformers": lambda state: state | {"mean": torch.zeros(BANDS), "scale": torch.ones(BANDS)},
}
CONFIGS: Mapping[str, tuple[str, str]] = {
    "coqui": ("config.json", json.dumps(coqui())),
    "parallel-wavegan": ("config.yml", parallel_wavegan()),
    "parallel-wavegan-single": ("config.yml", parallel_wavegan("parallel-wavegan-single")),
    "nemo": ("model_config.yaml", json.dumps(NEMO)),
    "speechbrain": ("hyperparams.yaml", SPEECHBRAIN),
    "transformers": ("config.json", json.dumps(transformers())),
}


def loaded(
    folder: Path, name: str, *, own: bool = True, config: str | None = None, state: Any = None
) -> LoadedNet:
    """A toolkit's checkpoint with its configuration, or with HiFi-GAN's own config.json."""
    file, text = CONFIGS[name] if own else ("config.json", json.dumps(stock(name)))
    (folder / file).write_text(text if config is None else config)
    saved = PLACES[name](weights(TOOLKITS[name])) if state is None else state
    return load_net(save(folder / "checkpoint-5steps.pkl", saved), "hifigan")


def difference(net: LoadedNet, name: str, seen: torch.Tensor, given: torch.Tensor | None = None) -> float:
    """Between our net, and the toolkit's arithmetic on what its first convolution sees."""
    with torch.no_grad():
        ours = net.module(seen if given is None else given)
    truth = forward(TOOLKITS[name], weights(TOOLKITS[name]), seen)
    assert truth.abs().max() > 0.1
    return float((ours - truth).abs().max())


@pytest.mark.parametrize("own", [True, False], ids=["its own configuration", "HiFi-GAN's configuration"])
@pytest.mark.parametrize("name", TOOLKITS)
def test_weights_compute_as_their_toolkit_does(tmp_path: Path, name: str, own: bool) -> None:
    net = loaded(tmp_path, name, own=own)
    assert difference(net, name, mel()) <= TOLERANCE
    assert net.checkpoint.dialect == NAMES.get(name, "")
    said = " ".join(net.said)
    assert not own or "configuration of" in said
    assert ("convolutions reflect" in said) == (name == "speechbrain")
    if name in NAMES:
        assert f"weights of {NAMES[name]} read" in said


# ---- statistics of the input ------------------------------------------------------------------------------

MEAN, SCALE = torch.linspace(-5, -3, BANDS), torch.linspace(1, 2, BANDS)
SEEN = (mel() - MEAN[:, None]) / SCALE[:, None]


@pytest.mark.parametrize("own", [True, False])
def test_transformers_statistics_are_part_of_the_net(tmp_path: Path, own: bool) -> None:
    state = weights(TOOLKITS["transformers"]) | {"mean": MEAN, "scale": SCALE}
    net = loaded(tmp_path, "transformers", own=own, state=state)
    assert difference(net, "transformers", SEEN, mel()) <= TOLERANCE
    assert "the net itself subtracts a mean from each band" in " ".join(net.said)


def test_transformers_statistics_that_its_configuration_leaves_out(tmp_path: Path) -> None:
    state = weights(TOOLKITS["transformers"]) | {"mean": MEAN, "scale": SCALE}
    config = json.dumps(transformers(normalize_before=False))
    assert (
        difference(loaded(tmp_path, "transformers", config=config, state=state), "transformers", mel())
        <= TOLERANCE
    )


@pytest.mark.parametrize("where", ["stats.npy", "stats.h5", "checkpoint"])
def test_statistics_of_parallel_wavegan(tmp_path: Path, where: str) -> None:
    name, state = "parallel-wavegan", weights(TOOLKITS["parallel-wavegan"])
    if where == "stats.npy":
        np.save(tmp_path / where, np.stack([MEAN.numpy(), SCALE.numpy()]))
    elif where == "stats.h5":
        with h5py.File(tmp_path / where, "w") as file:
            file["mean"], file["scale"] = MEAN.numpy(), SCALE.numpy()
    else:
        state |= {"mean": MEAN, "scale": SCALE}
    net = loaded(tmp_path, name, state={"model": {"generator": state}})
    assert difference(net, name, SEEN, mel()) <= TOLERANCE
    front_end = net.config.known_front_end
    assert (front_end.log, front_end.floor, front_end.fmax, front_end.padding) == (
        "log10", 1e-10, 3800, "center-reflect",
    )  # fmt: skip


def test_without_statistics_the_front_end_is_unknown_and_that_is_said(tmp_path: Path) -> None:
    net = loaded(tmp_path, "parallel-wavegan")
    assert net.config.known_front_end is None
    assert "no statistics of ParallelWaveGAN" in " ".join(net.said)
    np.save(tmp_path / "stats.npy", np.ones((2, BANDS + 1)))
    with pytest.raises(ConfigError, match=r"statistics: got shape \(2, 7\), expected \(2, 6\)"):
        loaded(tmp_path, "parallel-wavegan")


# ---- front ends -------------------------------------------------------------------------------------------


def test_the_front_end_of_coqui(tmp_path: Path) -> None:
    plain = loaded(tmp_path, "coqui").config.mel
    assert (plain.log, plain.log_gain, plain.scale_from, plain.padding) == ("ln", 1, None, "center-reflect")
    normed = json.dumps(
        coqui(signal_norm=True, log_func="np.log10", spec_gain=20, ref_level_db=20, min_level_db=-100)
    )
    mels = loaded(tmp_path, "coqui", config=normed).config.mel
    magnitude = np.array([1e-7, 1e-3, 0.1, 1.0])  # Coqui's own formulas, on magnitudes
    decibels = 20 * np.log10(np.maximum(1e-5, magnitude)) - 20
    expected = np.clip(8 * ((decibels + 100) / 100) - 4, -4, 4)
    (low, high), (bottom, top) = mels.scale_from, mels.scale_to
    ours = mels.log_gain * np.log10(np.maximum(mels.floor, magnitude)) - mels.reference
    ours = np.clip(bottom + (ours - low) * (top - bottom) / (high - low), bottom, top)
    np.testing.assert_allclose(ours, expected, atol=1e-12)
    assert mels.clip
    assert mels.lowest == -4


def test_the_front_end_of_nemo(tmp_path: Path) -> None:
    assert loaded(tmp_path, "nemo").config.front_end is None  # HiFi-GAN's own
    other = json.dumps(NEMO | {"preprocessor": NEMO["preprocessor"] | {"normalize": "per_feature"}})
    net = loaded(tmp_path, "nemo", config=other)
    assert net.config.known_front_end is None
    assert "normalize 'per_feature'" in " ".join(net.said)


def test_the_front_end_of_speechbrain(tmp_path: Path) -> None:
    mels = loaded(tmp_path, "speechbrain").config.mel
    assert (mels.padding, mels.log, mels.fmax) == ("center-reflect", "ln", 4000)
    silent = SPEECHBRAIN.replace("mel_fmax: 4000", "")
    assert loaded(tmp_path, "speechbrain", config=silent).config.known_front_end is None


def test_the_front_end_of_transformers(tmp_path: Path) -> None:
    assert loaded(tmp_path, "transformers").config.known_front_end is None
    extractor = {
        "num_mel_bins": BANDS,
        "hop_length": 3,
        "win_length": 12,
        "sampling_rate": 8000,
        "fmax": 3800,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(extractor))
    mels = loaded(tmp_path, "transformers").config.mel
    assert (mels.win_length, mels.n_fft, mels.hop_length, mels.fmin, mels.fmax) == (96, 128, 24, 80, 3800)
    assert (mels.log, mels.floor) == ("log10", 1e-10)
    published = transformers(sampling_rate=16000, model_in_dim=80, upsample_rates=[8, 8, 2, 2])
    entries, foreign = translate(published, "", Source(), [])
    assert foreign
    assert entries["front_end"]["fmax"] == 7600


# ---- NeMo's archive ---------------------------------------------------------------------------------------


def test_a_nemo_archive_brings_its_configuration(tmp_path: Path) -> None:
    save(tmp_path / "model_weights.ckpt", PLACES["nemo"](weights(TOOLKITS["nemo"])))
    with tarfile.open(tmp_path / "tts_hifigan.nemo", "w:gz") as archive:
        archive.add(tmp_path / "model_weights.ckpt", "./model_weights.ckpt")
        text = json.dumps(NEMO).encode()
        entry = tarfile.TarInfo("./model_config.yaml")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    net = load_net(tmp_path / "tts_hifigan.nemo", "hifigan")
    assert difference(net, "nemo", mel()) <= TOLERANCE
    assert "configuration model_config.yaml of the archive taken" in net.said


# ---- refusals ---------------------------------------------------------------------------------------------


REFUSED: list[tuple[str, dict[str, Any] | str, str]] = [
    ("coqui", coqui() | {"generator_model": "melgan_generator"}, "generator_model: got 'melgan_generator'"),
    ("coqui", coqui(stats_path="scale_stats.npy"), "Coqui-TTS configuration: audio.stats_path"),
    ("coqui", coqui() | {"generator_model_params": {}}, "upsample_factors: got no such entry"),
    ("parallel-wavegan", parallel_wavegan(use_causal_conv=True), "use_causal_conv: got True"),
    ("parallel-wavegan", parallel_wavegan(kernel_size=9), "kernel_size: got 9, expected 7"),
    (
        "parallel-wavegan",
        parallel_wavegan(nonlinear_activation_params={"negative_slope": 0.2}),
        "negative_slope: got 0.2, expected 0.1",
    ),
    ("transformers", transformers(leaky_relu_slope=0.2), "leaky_relu_slope: got 0.2"),
    ("speechbrain", SPEECHBRAIN.replace("inference_padding: 5", "cond_channels: 4"), "cond_channels: got 4"),
    ("coqui", stock("coqui") | {"gen_istft_n_fft": 16}, "an entry of iSTFTNet"),
    ("coqui", stock("coqui") | {"activation": "snakebeta"}, "an entry of BigVGAN"),
]


@pytest.mark.parametrize(("name", "config", "sentence"), REFUSED)
def test_what_our_net_cannot_compute_is_refused_by_name(
    tmp_path: Path, name: str, config: dict[str, Any] | str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        loaded(tmp_path, name, config=config if isinstance(config, str) else json.dumps(config))


def test_a_tensor_more_is_no_statistic(tmp_path: Path) -> None:
    state = weights(TOOLKITS["transformers"]) | {"cond.weight": torch.ones(2, 2)}
    with pytest.raises(CheckpointError, match=r"unexpected cond\.weight"):
        loaded(tmp_path, "transformers", state=state)


def test_every_dialect_is_tried_here() -> None:
    assert {dialect.name for dialect in DIALECTS} == {*NAMES.values(), "Coqui-TTS"}
