"""Speech as every gated net takes it: the shapes of its manifest, speech in it, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_ecog import DECODER, ENCODER, STATEFUL

from edge_export.catalog import NETS
from edge_export.catalog.gates import Gate
from edge_export.proof.gates import feeding
from edge_export.proof.gates.feeding import Wanted, longest, speech_inputs
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import write_wav
from edge_runtime.store.bundle import Lengths

MEL = MelConfig(
    sample_rate=8000, n_fft=160, hop_length=40, win_length=160, n_mels=12, padding="reflect", epsilon=1e-9
)


def wanted(net: str, config: Any, audio: Path | None = None, **lengths: Lengths) -> Wanted:
    entry = NETS[net]
    assert entry.gate is not None
    return Wanted(entry.inputs(config), entry.front_end(config), config.to_json(), lengths, entry.gate, audio)


def config_of(net: str, entries: dict[str, Any] | str) -> Any:
    entry = NETS[net]
    return entry.preset(entries) if isinstance(entries, str) else entry.config_from_json(entries)


@pytest.mark.parametrize(
    ("net", "entries"),
    [
        ("speech-encoder", ENCODER),
        ("degli", "small"),
        ("degli", "small-net"),
        ("ecog-decoder", DECODER),
        ("ecog-decoder", "resnet-hb"),
        ("mel-inversion", "light"),
    ],
)
def test_inputs_have_the_shapes_of_the_manifest(net: str, entries: dict[str, Any] | str) -> None:
    config = config_of(net, entries)
    made = speech_inputs(wanted(net, config))
    tensors = {tensor.name: tensor for tensor in NETS[net].inputs(config)}
    assert made.keys() == tensors.keys()
    for name, array in made.items():
        assert array.dtype == tensors[name].dtype
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
        for length, axis in zip(array.shape, tensors[name].shape, strict=True):
            assert isinstance(axis, str) or length == axis
        assert name == "gender" or array.std() > 0.01
    again = speech_inputs(wanted(net, config))
    assert all((again[name] == array).all() for name, array in made.items())


def test_a_speaker_is_filmed_at_the_rate_of_the_mel(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the phantom, whose pictures take two seconds, noise."""

    class Filmed:
        def midsagittal(self, rate: float, frames: int) -> np.ndarray:
            assert rate == pytest.approx(11413 / 420)
            return np.random.default_rng(0).integers(0, 256, (frames, 256, 256), np.uint8)

    monkeypatch.setattr(feeding, "_phantom", lambda **_silence: Filmed())
    made = speech_inputs(wanted("mri-acoustic", config_of("mri-acoustic", "phantom")))
    assert made["frames"].shape == (1, 33, 1, 64, 64)  # 1.2 s
    assert made["frames"].dtype == np.float32
    assert 0 <= made["frames"].min() < 0.5 < made["frames"].max() <= 1


def test_who_sees_a_speaker_hears_no_recording(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--audio: got a recording for a net that takes ecog, expected"):
        speech_inputs(wanted("ecog-decoder", config_of("ecog-decoder", DECODER), tmp_path / "s.wav"))
    with pytest.raises(ConfigError, match=r"got a decoder of wiring 'stateful'.* --set 'wiring=.streaming.'"):
        speech_inputs(wanted("ecog-decoder", config_of("ecog-decoder", STATEFUL)))
    few = wanted("mri-acoustic", config_of("mri-acoustic", "phantom"), frames=Lengths(1, 4))
    with pytest.raises(ConfigError, match="got artifacts that take fewer than 33 pictures"):
        speech_inputs(few)


def test_a_recording_that_is_too_short_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "s.wav", np.sin(np.arange(1600) / 7).astype(np.float32) / 2, 16000)
    for net, entries in (("speech-encoder", ENCODER), ("degli", "small"), ("mel-inversion", "light")):
        with pytest.raises(InputError, match=r"s\.wav: got 0\.10 s, expected .* s"):
            speech_inputs(wanted(net, config_of(net, entries), tmp_path / "s.wav"))


def test_a_mel_is_cut_to_a_length_that_all_take(tmp_path: Path) -> None:
    write_wav(tmp_path / "s.wav", np.sin(np.arange(24000) / 7).astype(np.float32) / 2, 8000)
    vocoder = NETS["istft-vocoder"]
    config = vocoder.config_from_json(vocoder.preset("small-22k").to_json() | {"mel": MEL.to_json()})
    gate = Gate("sound", "audio", {})
    buckets = {"frames": Lengths(64, 256, (64, 128, 256))}
    made = speech_inputs(Wanted(vocoder.inputs(config), MEL, {}, buckets, gate, tmp_path / "s.wav"))
    assert made["mel"].shape == (1, 12, 256)
    free = speech_inputs(Wanted(vocoder.inputs(config), MEL, {}, {}, gate, tmp_path / "s.wav"))
    assert free["mel"].shape == (1, 12, 400)  # two seconds
    assert longest(Lengths(3, 9), 2) is None
    assert longest(Lengths(3, 9), 20) == 9
