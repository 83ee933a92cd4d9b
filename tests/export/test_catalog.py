"""The catalogue: each entry consistent with its net, and readable without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from tests import small_nets, small_spectral_nets

from edge_export.catalog import NETS, Net, describe_nets, get_net
from edge_export.catalog.dynamic_axes import Axis, Buckets
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import check_inputs
from edge_training.ecog_speech.formant_synthesizer import FORMANT_SYNTHESIZER_PRESETS
from edge_training.ecog_speech.speech_encoder import SPEECH_ENCODER_PRESETS
from edge_training.image_speech.net_configs import CLIP_TEXT_PRESETS, SD_UNET_PRESETS, SD_VAE_PRESETS
from edge_training.image_speech.phoneme_adapter import PHONEME_ADAPTER_PRESETS
from edge_training.mel_inversion.degli import DEGLI_PRESETS
from edge_training.mel_inversion.pinv_conv_skip import MEL_INVERSION_PRESETS
from edge_training.mri_speech.mri_acoustic import MRI_ACOUSTIC_PRESETS
from edge_training.spectral.layers import SPECTRAL_PRESETS
from edge_training.vocoder.bigvgan import BIGVGAN_PRESETS
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS
from edge_training.vocoder.istft_vocoder import ISTFT_VOCODER_PRESETS

ENTRIES = [(net, preset) for net in NETS.values() for preset in net.presets]


def test_it_is_read_without_torch_onnx_and_coremltools() -> None:
    code = (
        "import sys; from edge_export.catalog import describe_nets; print(describe_nets());"
        "print(sorted({'torch', 'onnx', 'coremltools', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *text, heavy = done.stdout.splitlines()
    assert "\n".join(text) == describe_nets()
    assert heavy == "[]"


@pytest.mark.parametrize(
    ("net", "presets"),
    [
        ("hifigan", HIFIGAN_PRESETS),
        ("istft-vocoder", ISTFT_VOCODER_PRESETS),
        ("bigvgan", BIGVGAN_PRESETS),
        ("mel-inversion", MEL_INVERSION_PRESETS),
        ("degli", DEGLI_PRESETS),
        ("stft", SPECTRAL_PRESETS),
        ("istft", SPECTRAL_PRESETS),
        ("mri-acoustic", MRI_ACOUSTIC_PRESETS),
        ("speech-encoder", SPEECH_ENCODER_PRESETS),
        ("formant-synthesizer", FORMANT_SYNTHESIZER_PRESETS),
        ("sd-unet", SD_UNET_PRESETS),
        ("sd-vae-encoder", SD_VAE_PRESETS),
        ("sd-vae-decoder", SD_VAE_PRESETS),
        ("clip-text", CLIP_TEXT_PRESETS),
        ("phoneme-adapter", PHONEME_ADAPTER_PRESETS),
    ],
)
def test_the_presets_are_those_of_the_net(net: str, presets: Mapping[str, Any]) -> None:
    assert NETS[net].presets == tuple(presets)


@pytest.mark.parametrize(("net", "preset"), ENTRIES, ids=lambda value: getattr(value, "name", value))
def test_configs_survive_json(net: Net[Any], preset: str) -> None:
    config = net.preset(preset)
    assert net.config_from_json(config.to_json()) == config


@pytest.mark.parametrize(("net", "preset"), ENTRIES, ids=lambda value: getattr(value, "name", value))
def test_cases_fit_inputs_and_core_ml_axes(net: Net[Any], preset: str) -> None:
    config = net.preset(preset)
    axes = net.axes_of(config, net.coreml_axes)
    cases = net.cases(config, axes)
    assert len(cases) >= 2
    lengths: dict[str, set[int]] = {}
    for arrays in cases.values():
        check_inputs(net.inputs(config), arrays)
        for tensor in net.inputs(config):
            for axis, length in zip(tensor.shape, arrays[tensor.name].shape, strict=True):
                if isinstance(axis, str):
                    assert _admits(axes[axis], length)
                    lengths.setdefault(axis, set()).add(length)
    bent = [axis for axis, bend in axes.items() if not isinstance(bend, Buckets) or len(bend.sizes) > 1]
    if set(bent) & set(lengths):
        assert max(len(got) for got in lengths.values()) >= 2, "a dynamic axis has two lengths"
    again = net.cases(config, axes)
    for name, arrays in cases.items():
        assert all(np.array_equal(array, again[name][tensor]) for tensor, array in arrays.items())


def _admits(bend: Axis, length: int) -> bool:
    return length in bend.sizes if isinstance(bend, Buckets) else bend.low <= length <= bend.high


def test_cases_follow_the_buckets() -> None:
    axes = {**small_nets.NET.coreml_axes, "frames": Buckets((5, 7, 9))}
    cases = small_nets.NET.cases(small_nets.CONFIG, axes)
    assert {name: case["mel"].shape for name, case in cases.items()} == {
        "frames-5": (1, 20, 5),
        "frames-7": (1, 20, 7),
    }


def test_the_encoder_has_a_case_of_its_largest_batch() -> None:
    net = NETS["audio-encoder"]
    cases = net.cases(net.preset("talking-head"), net.coreml_axes)
    assert [case["mel"].shape[0] for case in cases.values()] == [1, 7, 64]
    assert len(np.unique(cases["batch-64"]["mel"], axis=0)) == 64, "no window twice"


def test_a_single_bucket_gives_a_single_case() -> None:
    axes = {**small_nets.NET.coreml_axes, "frames": Buckets((24,))}
    assert list(small_nets.NET.cases(small_nets.CONFIG, axes)) == ["frames-24"]


@pytest.mark.parametrize(
    ("net", "config"),
    [
        (NETS["audio-encoder"], None),
        (NETS["hifigan"], small_nets.CONFIG),
        *(
            (NETS[name], config)
            for name, configs in small_spectral_nets.CONFIGS.items()
            for config in configs
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_outputs_are_what_the_net_gives(net: Net[Any], config: Any) -> None:
    config = config or net.preset(net.presets[0])
    for arrays in net.cases(config, net.coreml_axes).values():
        with torch.no_grad():
            output = net.build(config).eval()(
                *(torch.from_numpy(arrays[tensor.name]) for tensor in net.inputs(config))
            )
        check_inputs(net.outputs(config), {net.outputs(config)[0].name: output.numpy()})


# sizes of a first preset that have a name in the signature
SIZES: dict[str, dict[int | str, str]] = {
    "hifigan": {80: "n_mels"},
    "istft-vocoder": {80: "n_mels"},
    "bigvgan": {80: "n_mels"},
    "mel-inversion": {80: "n_mels", 513: "bins"},
    "degli": {513: "bins"},
    "stft": {513: "bins"},
    "istft": {513: "bins"},
    "mri-acoustic": {256: "image_size", 64: "n_mels"},
    "ecog-decoder": {64: "electrodes", 32: "features"},
    "speech-encoder": {256: "bins"},
    "formant-synthesizer": {256: "bins"},
    "sd-unet": {768: "dim"},
    "clip-text": {77: "tokens", 768: "dim"},
    "phoneme-adapter": {77: "tokens", 768: "dim"},
}


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_the_signature_says_what_the_tensors_say(net: Net[Any]) -> None:
    config = net.preset(net.presets[0])
    tensors = (*net.inputs(config), *net.outputs(config))
    sizes = SIZES.get(net.name, {})
    sides = [
        ", ".join(
            f"{tensor.name} ({', '.join(str(sizes.get(axis, axis)) for axis in tensor.shape)})"
            for tensor in side
        )
        for side in (net.inputs(config), net.outputs(config))
    ]
    assert net.signature == " -> ".join(sides)
    assert all(tensor.meaning and tensor.unit for tensor in tensors)


def test_the_tolerance_follows_the_outputs_unit() -> None:
    """1e-3 of ln is 0.0087 dB, of 80 dB a 1.1e-4th part."""
    net = NETS["mel-inversion"]
    log, db = (net.allowed(net.preset(name), "fp32") for name in ("pinv-conv-skip", "pinv-conv-skip-db"))
    assert log == net.tolerance["fp32"]
    assert db.max_abs * 80 == pytest.approx(log.max_abs * 20 * np.log10(np.e))
    assert db.min_snr_db == log.min_snr_db


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_tolerances_keep_the_promise(net: Net[Any]) -> None:
    assert net.tolerance["fp32"].max_abs <= 1e-3
    assert net.tolerance["fp16"].min_snr_db >= 35  # Apple's own floor for its converted nets


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"net: got hifi-gan, .*audio-encoder, hifigan.*; is hifigan meant\?"
    ):
        get_net("hifi-gan")
    with pytest.raises(ConfigError, match=rf"expected one of {', '.join(NETS)}$"):
        get_net("xyz")
