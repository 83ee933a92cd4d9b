"""DeGLI's block against complex arithmetic written out, its keys and counts against
mel-speech-reconstruction's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests import closed_form
from tests.small_spectral_nets import DEGLI, DEGLI_NET
from torch import Tensor

from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import ConfigError
from edge_training.mel_inversion.degli import (
    DEGLI_PRESETS,
    Degli,
    DegliConfig,
    magnitude_of,
    unit_phasor,
    with_magnitude,
)

ROOT = Path(__file__).parents[3]
LAYER = "degliblock.convdnn."
KEYS = [f"{LAYER}aigcc.{i}.conv_{part}.weight" for i in range(3) for part in ("re", "im", "gate")] + [
    f"{LAYER}conv.conv_{part}.weight" for part in ("re", "im")
]


def net(config: DegliConfig = DEGLI) -> Degli:
    torch.manual_seed(1)
    return Degli(config).double().eval()


def inputs(frames: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A spectrum (1, 2, bins, frames) and a magnitude (1, bins, frames), float64."""
    rng = np.random.default_rng(seed)
    spectrum = 3.0 * rng.standard_normal((1, 2, DEGLI.bins, frames))
    return torch.from_numpy(spectrum), torch.from_numpy(5.0 * rng.random((1, DEGLI.bins, frames)))


def complex_of(parts: Tensor) -> Any:
    """(1, 2, …) → (…) complex."""
    return parts[0, 0].numpy() + 1j * parts[0, 1].numpy()


def convolved(x: Any, re: Tensor, im: Tensor) -> Any:
    """Complex channels (C, bins, frames) with complex kernels, as torch multiplies complex numbers."""
    kernel = torch.complex(re, im)
    padding = (kernel.shape[2] // 2, kernel.shape[3] // 2)
    return F.conv2d(torch.from_numpy(x)[None], kernel, padding=padding)[0].numpy()


def by_hand(module: Degli, x: Any, y: Any, z: Any, magnitude: Any) -> Any:
    """F(X, Y, Z; A) with complex tensors."""
    state = {key.removeprefix(LAYER): tensor for key, tensor in module.state_dict().items()}
    features = np.stack([x, y, z])
    for i in range(3):
        seen = torch.from_numpy(np.concatenate([np.abs(features), magnitude[None]]))[None]
        weight = state[f"aigcc.{i}.conv_gate.weight"]
        gate = F.conv2d(seen, weight, padding=(weight.shape[2] // 2, weight.shape[3] // 2))[0].sigmoid()
        names = (f"aigcc.{i}.conv_re.weight", f"aigcc.{i}.conv_im.weight")
        features = convolved(features, *(state[name] for name in names)) * gate.numpy()
    return convolved(features, state["conv.conv_re.weight"], state["conv.conv_im.weight"])[0]


def test_keys_are_the_origins() -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in Degli().state_dict().items()}
    assert list(shapes) == KEYS
    assert shapes[KEYS[0]] == (64, 3, 5, 3)
    assert shapes[KEYS[2]] == (64, 4, 5, 3)
    assert shapes[KEYS[5]] == (64, 65, 5, 3)
    assert shapes[KEYS[-1]] == (1, 64, 1, 1)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("origin", 380_288), ("origin-net", 380_288), ("small", 97_984), ("small-net", 97_984)],
)
def test_counts_of_parameters(preset: str, parameters: int) -> None:
    assert sum(p.numel() for p in Degli(DEGLI_PRESETS[preset]).parameters()) == parameters
    assert len(DEGLI_PRESETS) == 4


@pytest.mark.parametrize("kernel", [(5, 3), (3, 5)])
def test_a_block_is_the_one_written_out(kernel: tuple[int, int]) -> None:
    """With numpy's transform and complex numbers; the net alone gives the same residual."""
    module = net(replace(DEGLI, kernel=kernel))
    spectrum, magnitude = inputs()
    x, wanted = complex_of(spectrum), magnitude[0].numpy()
    y = wanted * x / np.abs(x)
    stft = Stft(DEGLI.spectral.stft, "float64")
    z = stft.forward(stft.inverse(y))
    residual = by_hand(module, x, y, z, wanted)
    with torch.no_grad():
        after = complex_of(module(spectrum, magnitude))
        parts = [torch.from_numpy(np.stack([c.real, c.imag]))[None] for c in (x, y, z)]
        alone = complex_of(with_same_weights(module)(*parts, magnitude))
    assert np.abs(residual).max() > 0.1
    np.testing.assert_allclose(alone, residual, rtol=0, atol=1e-12)
    np.testing.assert_allclose(after, z - residual, rtol=0, atol=1e-5)  # the transform's kernels are float32


def with_same_weights(module: Degli) -> Degli:
    alone = net(replace(module.config, graph="net"))
    alone.load_state_dict(module.state_dict())
    return alone


def test_blocks_share_their_weights_and_their_number_is_free() -> None:
    module = net()
    spectrum, magnitude = inputs()
    with torch.no_grad():
        twice = module(module(spectrum, magnitude), magnitude)
        expected = module.degliblock.istft(with_magnitude(twice, magnitude))
        torch.testing.assert_close(module.reconstruct(spectrum, magnitude, 2), expected)
        none = module.reconstruct(spectrum, magnitude, 0)
    torch.testing.assert_close(none, module.degliblock.istft(with_magnitude(spectrum, magnitude)))


@pytest.mark.parametrize("padding", ["center-zero", "center-reflect", "reflect", "none"])
def test_a_block_keeps_the_number_of_frames(padding: Any) -> None:
    config = replace(DEGLI, padding=padding, hop_length=20)
    with torch.no_grad():
        assert net(config)(*inputs(11)).shape == (1, 2, DEGLI.bins, 11)


def test_frames_beyond_the_context_change_nothing() -> None:
    for config in (DEGLI, replace(DEGLI, kernel=(3, 5)), DEGLI_NET):
        module, reach = net(config), config.context_frames
        spectrum, magnitude = inputs(2 * reach + 12)
        given = (spectrum,) * (3 if config.graph == "net" else 1)
        other = tuple(part.clone() for part in given)
        middle = spectrum.shape[3] // 2
        for part in other:
            part[..., middle] += 1.0
        with torch.no_grad():
            change = (module(*other, magnitude) - module(*given, magnitude)).abs().amax((0, 1, 2))
        changed = torch.nonzero(change > 1e-9).flatten()
        assert middle - reach <= int(changed.min()) <= middle - reach + 1  # the window's end weighs nothing
        assert middle + reach - 1 <= int(changed.max()) <= middle + reach


# ---- complex numbers in real arithmetic -------------------------------------------------------------------


def test_magnitude_and_phasor_are_those_of_complex_numbers() -> None:
    rng = np.random.default_rng(0)
    c = (rng.standard_normal(500) + 1j * rng.standard_normal(500)) * 10.0 ** rng.uniform(-3, 4, 500)
    re, im = torch.from_numpy(c.real), torch.from_numpy(c.imag)
    np.testing.assert_allclose(magnitude_of(re, im).numpy(), np.abs(c), rtol=1e-12)
    phasor = unit_phasor(re, im)
    np.testing.assert_allclose(phasor[0].numpy() + 1j * phasor[1].numpy(), c / np.abs(c), rtol=1e-12)


def test_zero_has_no_phase_and_a_gradient_all_the_same() -> None:
    re, im = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    assert torch.equal(magnitude_of(re, im), torch.zeros(3))
    assert all(torch.equal(part, torch.zeros(3)) for part in unit_phasor(re, im))
    total = magnitude_of(re, im).sum() + sum(part.sum() for part in unit_phasor(re, im))
    total.backward()  # type: ignore[no-untyped-call]
    assert re.grad is not None
    assert torch.isfinite(re.grad).all()


def test_float16_takes_magnitudes_whose_squares_it_does_not_hold() -> None:
    """Pain 2: 600² is 360,000, and float16 ends at 65504."""
    re, im = torch.tensor([600.0, 0.0, 1e-3]).half(), torch.tensor([-800.0, 0.0, 1e-3]).half()
    assert torch.isinf(re * re)[0]
    np.testing.assert_allclose(magnitude_of(re, im).float().numpy(), [1000, 0, 2**0.5 * 1e-3], rtol=2e-3)
    np.testing.assert_allclose(unit_phasor(re, im)[0].float().numpy(), [0.6, 0, 0.5**0.5], rtol=2e-3)


# ---- config -----------------------------------------------------------------------------------------------


def test_config_round_trip() -> None:
    for config in (*DEGLI_PRESETS.values(), DEGLI):
        assert DegliConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"channels": 0}, "channels: got 0, expected a whole number from 1 to 1024"),
        ({"kernel": [5, 4]}, r"kernel: got \(5, 4\), expected two odd numbers"),
        ({"graph": "blocks"}, "graph: got 'blocks', expected block or net"),
        ({"magnitude_rms": 0}, "magnitude_rms: got 0, expected a number above 0"),
        ({"win_length": 2000}, "win_length: got 2000 samples"),
        ({"blocks": 3}, "entry 'blocks': got an unknown entry"),
    ],
)
def test_refusals(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DegliConfig.from_json(entries)


def test_the_level_is_that_of_a_signal_of_deviation_1() -> None:
    config = DegliConfig()
    noise = np.random.default_rng(0).standard_normal(60_000)
    magnitude = np.abs(Stft(config.spectral.stft).forward(noise))
    assert np.sqrt(np.mean(magnitude**2)) == pytest.approx(config.magnitude_rms, rel=0.01)


# ---- goldens ----------------------------------------------------------------------------------------------

GOLDENS = json.loads((ROOT / "reference_data" / "manifest.json").read_text())["nets"]["degli"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("case", GOLDENS)
def test_goldens(case: str, dtype: torch.dtype, tolerance: float) -> None:
    folder = ROOT / "reference_data" / "nets" / "degli" / case
    config = DegliConfig.from_json(GOLDENS[case]["config"])
    module = Degli(config).eval().to(dtype)
    weights = closed_form.state(GOLDENS[case]["keys"])
    module.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    spectrum, magnitude, expected, residual = (
        torch.from_numpy(np.load(folder / f"{name}.npy")).to(dtype)
        for name in ("spectrum", "magnitude", "next_spectrum", "residual")
    )
    with torch.no_grad():
        got = module(spectrum, magnitude)
        y = with_magnitude(spectrum, magnitude)
        z = module.degliblock.consistent(y)
        alone = module.degliblock.residual(spectrum, y, z, magnitude)
    for ours, theirs in ((got, expected), (alone, residual)):
        assert theirs.std() > 0.1
        assert (ours - theirs).abs().max() <= tolerance * (theirs.max() - theirs.min())


def test_every_golden_case_is_here() -> None:
    folder = ROOT / "reference_data" / "nets" / "degli"
    assert {path.name for path in folder.iterdir()} == set(GOLDENS)
    assert len(GOLDENS) == 2
