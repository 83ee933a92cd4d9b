"""Figures of mel inversion: perfect for the truth, refused where nets do not belong together."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.training.mel_inversion.inversion_run import INVERSION, fit

from edge_runtime.dsp.griffin_lim import griffin_lim
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_training.mel_inversion.degli import Degli, DegliConfig
from edge_training.mel_inversion.pinv_conv_skip import MEL_INVERSION_PRESETS, build_mel_inversion
from edge_training.mel_inversion.quality import (
    FIGURES,
    HEADER,
    Recording,
    compare,
    deep_griffin_lim,
    fast_griffin_lim,
    judge_magnitude,
    line,
    load_degli,
    load_net,
    main,
    model_free,
    neural,
)

MEL = PRESETS["hifigan-22k"]


def speechlike(seconds: float) -> NDArray[np.float32]:
    """Harmonics of 120 Hz under a syllabic envelope."""
    t = np.arange(int(MEL.sample_rate * seconds)) / MEL.sample_rate
    tone = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 30))
    return (0.2 * tone * (0.1 + np.sin(2 * np.pi * 3 * t) ** 2)).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net and a block that never learnt anything, each with its configuration."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    light = MEL_INVERSION_PRESETS["light"]
    degli = DegliConfig(channels=2, kernel=(3, 3), sample_rate=22050)
    for name, net, config in (
        ("light", build_mel_inversion(light), light),
        ("degli", Degli(degli), degli),
    ):
        save_file(net.state_dict(), folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(config.to_json()))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.wav"
    write_wav(path, speechlike(1.5), MEL.sample_rate)
    return path


def test_table_of_all_ways(
    weights: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("pesq", reason="judging needs pesq")
    pytest.importorskip("pystoi", reason="judging needs pystoi")
    arguments = ["--data", clip.parent, "--net", f"light={weights / 'light.safetensors'}", "--iterations", 8]
    arguments += ["--degli", weights / "degli.safetensors", "--blocks", 1]
    arguments += ["--out", tmp_path / "heard", "--json", tmp_path / "rows"]
    monkeypatch.setattr(sys, "argv", ["inversion_quality", *map(str, arguments)])
    main()
    printed = capsys.readouterr().out.splitlines()
    rows = json.loads((tmp_path / "rows").read_text())
    ways = [(row["magnitude"], row["phase"]) for row in rows]
    assert ways == [
        ("true", "fgla-8"),
        ("true", "degli-1"),
        ("pinv", "fgla-8"),
        ("updates", "fgla-8"),
        ("updates", "degli-1"),
        ("light", "fgla-8"),
        ("light", "degli-1"),
    ]
    assert printed[0] == HEADER
    assert [tuple(text.split()[:2]) for text in printed[1:]] == ways
    means = {way: row["mean"] for way, row in zip(ways, rows, strict=True)}
    assert means["true", "fgla-8"]["lsd"] == 0
    assert means["true", "fgla-8"]["si_ssdr"] is None
    assert means["updates", "fgla-8"]["in_band"] > means["pinv", "fgla-8"]["in_band"] + 0.2
    assert means["true", "fgla-8"]["pesq"] > means["pinv", "fgla-8"]["pesq"]
    heard = read_audio(tmp_path / "heard" / "clip_true_fgla-8.wav")
    assert len(heard.samples) == len(speechlike(1.5)) // MEL.hop_length * MEL.hop_length
    assert len(list((tmp_path / "heard").iterdir())) == 7


def spectrum(samples: NDArray[np.float32]) -> NDArray[Any]:
    return np.asarray(Stft(MEL.stft, "float64").forward(samples.astype(np.float64)))


def test_griffin_lim_is_aligned_with_the_recording() -> None:
    """HiFi-GAN's frames are centred between hops: half a hop away from librosa's."""
    place = np.arange(64 * MEL.hop_length)
    samples = np.random.default_rng(0).standard_normal(place.size) * np.exp(-(((place - 8000) / 900) ** 2))
    made = fast_griffin_lim(MEL, 32)(np.abs(spectrum(samples.astype(np.float32))).astype(np.float32))
    assert made.size == samples.size
    centre = float((place * made**2).sum() / (made**2).sum())
    assert centre == pytest.approx(float((place * samples**2).sum() / (samples**2).sum()), abs=32)


def test_blocks_that_answer_nothing_are_griffin_lim(weights: Path) -> None:
    """With F = 0 a block is an iteration of plain Griffin-Lim, at any level."""
    net = load_degli(weights / "degli.safetensors", MEL)
    assert net.config.padding == "reflect"
    for parameter in net.parameters():
        parameter.detach().zero_()
    samples = speechlike(0.5)[: 40 * MEL.hop_length]
    truth = np.abs(spectrum(samples)).astype(np.float32)
    expected = griffin_lim(
        truth, n_fft=1024, hop_length=256, n_iter=3, algorithm="gla", padding="reflect", init="zero"
    )
    made = deep_griffin_lim(net, 3)(truth)
    np.testing.assert_allclose(made, expected, atol=1e-3 * np.abs(expected).max())


def test_figures_of_a_magnitude() -> None:
    draw = np.random.default_rng(0)
    truth = draw.gamma(1.0, 1.0, (513, 20))
    beyond = truth.copy()
    beyond[400:] = 0  # above the bank
    figures = judge_magnitude(truth, beyond, MEL)
    assert figures["in_band"] == np.inf
    assert figures["si_ssdr"] < 10
    assert figures["sc"] == pytest.approx(20 * np.log10(np.linalg.norm(truth[400:]) / np.linalg.norm(truth)))
    recording = Recording("x", np.zeros(1), truth, np.log(np.maximum(truth[:80], 1e-5)).astype(np.float32))
    assert model_free(MEL, 0)(recording).shape == (513, 20)


def test_shipped_weights_hear_what_the_mel_lost() -> None:
    """On a voice that they were not trained on."""
    root = Path(__file__).resolve().parents[3]
    samples = read_audio(root / "export" / "edge_export" / "assets" / "sentence.wav", MEL.sample_rate).samples
    net, mel = load_net(root / "reference_data" / "weights" / "mel-inversion-light.safetensors")
    assert mel == MEL
    truth = np.abs(spectrum(samples))
    recording = Recording("sentence", samples, truth, MelFrontEnd(MEL)(samples))
    ours, theirs = (judge_magnitude(truth, way(recording), MEL) for way in (neural(net), model_free(MEL, 50)))
    assert ours["si_ssdr"] > theirs["si_ssdr"] + 1.5
    assert ours["sc"] < theirs["sc"] - 1.5


def test_refusals(weights: Path, clip: Path, corpus: Path, tmp_path: Path) -> None:
    light = weights / "light.safetensors"
    with pytest.raises(ConfigError, match="nets: got none, expected at least one"):
        compare([clip], {})
    other = fit("mel-inversion", corpus, tmp_path / "run", steps=1).weights
    with pytest.raises(ConfigError, match="tiny: got another mel configuration, expected that of light"):
        compare([clip], {"light": light, "tiny": other})
    with pytest.raises(ConfigError, match=r"n_fft 64, hop 16, window 64, expected 1024, 256, 1024"):
        load_degli(fit("degli", corpus, tmp_path / "degli", steps=1).weights, MEL)
    small = {"sample_rate": 8000, "n_fft": 64, "win_length": 64, "hop_length": 16, "n_mels": 12}
    db = INVERSION | {"domain": "db", "mel": PRESETS["mel-inversion-db"].to_json() | small}
    with pytest.raises(ConfigError, match="got a net of the domain 'db', expected a net of the domain 'log'"):
        load_net(fit("mel-inversion", corpus, tmp_path / "db", config=db, steps=1).weights)
    write_wav(tmp_path / "low.wav", speechlike(0.2), 16000)
    with pytest.raises(InputError, match=r"low.wav: got 16000 Hz, expected 22050 Hz"):
        compare([tmp_path / "low.wav"], {"light": light})
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ConfigError, match=r"got no config.json"):
        load_net(tmp_path / "bare.safetensors")


def test_a_line_is_under_its_header(weights: Path, clip: Path) -> None:
    pytest.importorskip("pesq", reason="judging needs pesq")
    pytest.importorskip("pystoi", reason="judging needs pystoi")
    seen: list[str] = []
    nets = {"light": weights / "light.safetensors"}
    compare([clip], nets, iterations=1, say=lambda row: seen.append(line(row)))
    assert len(seen) == 4
    assert all(len(text) == len(HEADER) for text in seen)
    assert HEADER.split()[2:8] == list(FIGURES)
