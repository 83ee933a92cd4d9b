"""DeGLI as artifacts: a block or its net alone, any number of frames, looped by the host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.small_spectral_nets import DEGLI, DEGLI_NET

from edge_export.backends import get_backend
from edge_export.catalog import NETS
from edge_export.convert import export
from edge_export.examples.random_weights import random_module
from edge_export.proof.verify import table, verify
from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import CheckpointError, ConfigError
from edge_runtime.store.bundle import Bundle, Lengths
from edge_training.mel_inversion.degli import Degli, DegliConfig

NET = NETS["degli"]


def module(config: DegliConfig) -> Degli:
    """The net that `export` makes of seed 1."""
    *_, case = NET.cases(config, NET.coreml_axes).values()
    example = tuple(torch.from_numpy(case[tensor.name]) for tensor in NET.inputs(config))
    made = random_module(lambda: NET.build(config), 1, example, rms=NET.random_rms)
    assert isinstance(made, Degli)
    return made


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("degli")
    return {
        config.graph: export("degli", folder / config.graph, random=1, config=config.to_json())
        for config in (DEGLI, DEGLI_NET)
    }


@pytest.mark.parametrize("graph", ["block", "net"])
def test_every_artifact_is_proved(bundles: dict[str, Bundle], graph: str) -> None:
    manifest = bundles[graph].manifest
    names = ("spectrum", "magnitude") if graph == "block" else ("x", "y", "z", "magnitude")
    assert tuple(tensor.name for tensor in manifest.inputs) == names
    assert manifest.outputs[0].name == ("next_spectrum" if graph == "block" else "residual")
    assert manifest.config["graph"] == graph
    assert manifest.geometry.context_frames == (6 if graph == "block" else 3)
    assert manifest.artifact("coreml").axes["frames"] == Lengths(8, 4096)
    proof = verify(bundles[graph], backends=["onnxruntime", "onnx-reference", "mil"])
    assert proof.passed, table(proof.rows)


def test_the_random_weights_speak_in_the_range_of_real_ones(bundles: dict[str, Bundle]) -> None:
    """The residual is neither nothing nor louder than the spectrum, and gates are neither open nor shut."""
    inputs, outputs = bundles["net"].reference("frames-13")
    share = outputs["residual"].std() / inputs["z"].std()
    assert 0.1 < share < 3


@pytest.mark.parametrize(
    ("backend", "target", "precision"),
    [("onnxruntime", "onnx", "fp32"), ("mil", "coreml", "fp32"), ("mil", "coreml", "fp16")],
)
def test_blocks_looped_by_the_host_are_those_of_torch(
    bundles: dict[str, Bundle], backend: str, target: str, precision: str
) -> None:
    """Ten of them, in both graphs: the net alone with numpy's projections between."""
    frames, blocks = 23, 10
    audio = np.random.default_rng(0).standard_normal(16 * (frames - 1))
    stft = Stft(DEGLI.spectral.stft, "float64")
    magnitude = np.abs(stft.forward(audio))
    magnitude *= DEGLI.magnitude_rms / np.sqrt(np.mean(magnitude**2))
    start = magnitude.astype(np.complex128)
    session = get_backend(backend).open(bundles["block"].artifact(target, precision))
    alone = get_backend(backend).open(bundles["net"].artifact(target, precision))
    looped, projected = start, start
    for _ in range(blocks):
        looped = complexes(session.run({"spectrum": parts(looped), "magnitude": single(magnitude)}))
        y = magnitude * np.exp(1j * np.angle(projected))
        z = stft.forward(stft.inverse(y))
        given = {"x": parts(projected), "y": parts(y), "z": parts(z), "magnitude": single(magnitude)}
        projected = z - complexes(alone.run(given))
    with torch.no_grad():
        net, spectrum = module(DEGLI).degliblock, torch.from_numpy(parts(start))
        for _ in range(blocks):
            spectrum = net(spectrum, torch.from_numpy(single(magnitude)))
    expected = spectrum[0, 0].numpy() + 1j * spectrum[0, 1].numpy()
    # of float16, ten blocks are chaotic where the net is random: the first decides
    for got in (looped, projected):
        error = np.sqrt(np.mean(np.abs(got - expected) ** 2) / np.mean(np.abs(expected) ** 2))
        assert error < (1e-4 if precision == "fp32" else 0.1), error


def parts(spectrum: Any) -> Any:
    return np.stack([spectrum.real, spectrum.imag]).astype(np.float32)[None]


def single(magnitude: Any) -> Any:
    return magnitude.astype(np.float32)[None]


def complexes(outputs: dict[str, Any]) -> Any:
    (value,) = outputs.values()
    return value[0, 0].astype(np.float64) + 1j * value[0, 1]


def test_no_angle_is_computed_and_no_transform_is_an_operator(bundles: dict[str, Bundle]) -> None:
    for bundle in bundles.values():
        kinds = {node.op_type for node in onnx.load(bundle.artifact("onnx")).graph.node}
        assert not kinds & {"Atan", "Cos", "Sin", "DFT", "STFT", "Loop", "Exp", "Log"}


def test_a_block_holds_the_transforms_kernel_once(bundles: dict[str, Bundle]) -> None:
    kernel = 2 * DEGLI.bins * DEGLI.n_fft
    graph = onnx.load(bundles["block"].artifact("onnx")).graph
    constants = [node.attribute[0].t for node in graph.node if node.op_type == "Constant"]
    sizes = [int(np.prod(tensor.dims)) for tensor in (*graph.initializer, *constants)]
    assert sizes.count(kernel) == 1
    assert sizes.count(DEGLI.channels**2 * 15) == 5, "two complex kernels, each used twice, and a gate"
    packages = [bundles[graph].artifact("coreml") for graph in ("block", "net")]
    block, alone = (sum(file.stat().st_size for file in path.rglob("weight.bin")) for path in packages)
    assert 4 * kernel < block - alone < 8 * kernel


def test_loud_magnitudes_do_not_overflow_float16(bundles: dict[str, Bundle]) -> None:
    """Pain 2: a magnitude of 3000 has a square of 9 million; only the squares of scaled parts are taken."""
    inputs, outputs = bundles["block"].reference("frames-13")
    factor = np.float32(3000 / max(np.abs(array).max() for array in inputs.values()))
    session = get_backend("mil").open(bundles["block"].artifact("coreml", "fp16"))
    (got,) = session.run({name: array * factor for name, array in inputs.items()}).values()
    assert np.isfinite(got).all()
    assert "beyond float16" not in session.detail
    assert np.abs(got).max() > 1000
    assert outputs


def test_a_magnitude_of_zero_gives_no_nan(bundles: dict[str, Bundle]) -> None:
    shape = (1, 2, DEGLI.bins, 9)
    inputs = {"spectrum": np.zeros(shape, np.float32), "magnitude": np.zeros((1, *shape[2:]), np.float32)}
    for backend, target, precision in (("onnxruntime", "onnx", "fp16"), ("mil", "coreml", "fp16")):
        (got,) = get_backend(backend).open(bundles["block"].artifact(target, precision)).run(inputs).values()
        assert np.array_equal(got, np.zeros(shape))


def test_the_small_kernel_too() -> None:
    config = replace(DEGLI_NET, kernel=(3, 5))
    assert NET.geometry(config).context_frames == 6


def test_an_origins_checkpoint_becomes_a_bundle(tmp_path: Path) -> None:
    """The state dict as mel-speech-reconstruction saves it; weights of another size are recognised."""
    torch.manual_seed(0)
    torch.save(Degli(DEGLI).state_dict(), tmp_path / "best_weights")
    options: dict[str, Any] = {"checkpoint": tmp_path / "best_weights", "targets": ["onnx"]}
    bundle = export("degli", tmp_path / "out", config=DEGLI.to_json(), precisions=["fp32"], **options)
    assert bundle.manifest.source.format == "torch zip, float32"
    assert verify(bundle, backends=["onnxruntime"]).passed
    with pytest.raises(CheckpointError, match=r"wrong shape .*; its shapes say channels 4; kernel 5, 3"):
        export("degli", tmp_path / "no", preset="origin", **options)
    with pytest.raises(ConfigError, match=r"no config.json beside .*; its shapes say channels 4"):
        export("degli", tmp_path / "no", **options)
