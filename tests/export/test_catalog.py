"""The catalogue: each entry consistent with its net, and readable without torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from tests import small_nets

from edge_export.axes import Buckets
from edge_export.catalog import NETS, Net, describe_nets, get_net
from edge_runtime.bundle import check_inputs
from edge_runtime.errors import ConfigError
from edge_training.nets.hifigan import HIFIGAN_PRESETS

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


def test_the_presets_of_hifigan_are_those_of_the_net() -> None:
    assert NETS["hifigan"].presets == tuple(HIFIGAN_PRESETS)


@pytest.mark.parametrize(("net", "preset"), ENTRIES, ids=lambda value: getattr(value, "name", value))
def test_configs_survive_json(net: Net, preset: str) -> None:
    config = net.preset(preset)
    assert net.config_from_json(config.to_json()) == config


@pytest.mark.parametrize(("net", "preset"), ENTRIES, ids=lambda value: getattr(value, "name", value))
def test_cases_fit_inputs_and_core_ml_axes(net: Net, preset: str) -> None:
    config = net.preset(preset)
    cases = net.cases(config, net.coreml_axes)
    assert len(cases) >= 2
    lengths: dict[str, set[int]] = {}
    for arrays in cases.values():
        check_inputs(net.inputs(config), arrays)
        for tensor in net.inputs(config):
            for axis, length in zip(tensor.shape, arrays[tensor.name].shape, strict=True):
                if isinstance(axis, str):
                    assert _admits(net, axis, length)
                    lengths.setdefault(axis, set()).add(length)
    assert max(len(met) for met in lengths.values()) >= 2, "a dynamic axis has two lengths"
    again = net.cases(config, net.coreml_axes)
    assert all(np.array_equal(cases[name]["mel"], again[name]["mel"]) for name in cases)


def _admits(net: Net, axis: str, length: int) -> bool:
    bend = net.coreml_axes[axis]
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
    [(NETS["audio-encoder"], None), (NETS["hifigan"], small_nets.CONFIG)],
    ids=["audio-encoder", "hifigan"],
)
def test_outputs_are_what_the_net_gives(net: Net, config: Any) -> None:
    config = config or net.preset(net.presets[0])
    for arrays in net.cases(config, net.coreml_axes).values():
        with torch.no_grad():
            output = net.build(config).eval()(torch.from_numpy(arrays["mel"]))
        check_inputs(net.outputs(config), {net.outputs(config)[0].name: output.numpy()})


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_the_signature_says_what_the_tensors_say(net: Net) -> None:
    config = net.preset(net.presets[0])
    tensors = (*net.inputs(config), *net.outputs(config))
    said = [
        f"{tensor.name} ({', '.join(map(str, tensor.shape))})".replace(f"{config.num_mels}", "n_mels")
        for tensor in tensors
    ]
    assert net.signature.replace("80, 16", "n_mels, 16") == " -> ".join(said)
    assert all(tensor.meaning and tensor.unit for tensor in tensors)


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_tolerances_keep_the_promise(net: Net) -> None:
    assert net.tolerance["fp32"].max_abs <= 1e-3
    assert net.tolerance["fp16"].min_snr_db >= 35  # Apple's own floor for its converted nets


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"net: met hifi-gan, .*audio-encoder, hifigan; is hifigan meant\?"):
        get_net("hifi-gan")
    with pytest.raises(ConfigError, match=r"expected one of audio-encoder, hifigan$"):
        get_net("xyz")
