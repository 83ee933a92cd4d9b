"""`edge-export bisect PACK CANDIDATE`: stages, what only inherits an error, guesses, refusals."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import planted_faults
from tests.planted_faults import VOCODER_MEL, htk_for_slaney

from edge_export.__main__ import main
from edge_export.proof.bisect.guesses import explain_channels, explain_mel
from edge_export.proof.bisect.packs import bisect_pack
from edge_export.proof.reference import write_reference
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import InputError
from edge_runtime.media.audio import write_wav

MEL = PRESETS["talking-head"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """Half a second through the talking head."""
    folder = tmp_path_factory.mktemp("pack")
    audio = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    write_wav(folder / "noise.wav", audio, MEL.sample_rate)
    return write_reference("talking-head", folder / "noise.wav", [encoder], folder / "pack")


def test_an_equal_candidate_passes(pack: Path, tmp_path: Path) -> None:
    shutil.copytree(pack, tmp_path / "port")
    result = bisect_pack(pack, tmp_path / "port")
    assert result.passed
    assert result.culprit is None
    assert [stage.name for stage in result.stages] == [
        "reference_audio.wav", "mel_spectrogram.npy", "mel_windows.npy", "audio_features_raw.npy",
        "audio_features_padded.npy", "frames/*_window.npy", "frames/*_reshaped.npy",
    ]  # fmt: skip


def test_what_follows_from_a_wrong_stage_is_propagated(pack: Path, tmp_path: Path, encoder: Path) -> None:
    port = tmp_path / "port"
    shutil.copytree(pack, port)
    raw = np.load(port / "audio_features_raw.npy")[:, ::-1].copy()
    np.save(port / "audio_features_raw.npy", raw)
    np.save(port / "audio_features_padded.npy", np.concatenate([raw[:1], raw, raw[-1:]]))
    result = bisect_pack(pack, port, bundle=encoder)
    stages = {stage.name: stage for stage in result.stages}
    assert result.culprit is stages["audio_features_raw.npy"]
    assert stages["audio_features_raw.npy"].origin == "introduced"
    assert stages["audio_features_padded.npy"].origin == "propagated"
    assert stages["frames/*_window.npy"].status == "PASS"
    assert "first stage that differs: audio_features_raw.npy" in result.text()


def test_a_wrong_mel_and_a_right_net(tmp_path: Path) -> None:
    planted = htk_for_slaney(tmp_path)
    assert planted.candidate is not None
    result = bisect_pack(planted.place, planted.candidate, bundle=planted_faults.vocoder())
    mel, wav = result.stages
    assert (mel.origin, wav.origin) == ("introduced", "propagated")
    assert "HTK's mel scale in place of Slaney's" in result.summary()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pre_emphasis": 0.0}, "no pre-emphasis"),
        ({"n_fft": 1024}, "a transform of 1024 points"),
        ({"padding": "center-reflect"}, "padding center-reflect"),
        ({"area_norm": False}, "filters of height 1"),
        ({"power": 2}, "power spectra"),
    ],
)
def test_guesses_at_a_front_end(change: dict[str, object], words: str) -> None:
    audio = np.random.default_rng(1).normal(0, 0.1, 4000)
    truth = MelFrontEnd(MEL, "float64")(audio)
    made = MelFrontEnd(replace(MEL, **change), "float64")(audio)  # type: ignore[arg-type]
    assert words in explain_mel(audio, MEL, made, truth, 1e-3)


def test_no_guess_where_none_holds() -> None:
    audio = np.random.default_rng(1).normal(0, 0.1, 4000)
    truth = MelFrontEnd(MEL, "float64")(audio)
    assert explain_mel(audio, MEL, truth[::-1].copy(), truth, 1e-3) == ""
    assert explain_channels(truth * 2, truth, 1e-3) == ""
    assert explain_channels(truth[::-1].copy(), truth, 1e-3).startswith("rows are exchanged: 0 is 79")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = htk_for_slaney(tmp_path)
    assert main(["bisect", str(planted.place), str(planted.candidate)]) == 1
    assert "the first stage that differs is mel.npy; the candidate equals" in capsys.readouterr().out
    assert VOCODER_MEL.mel_scale == "slaney"


def test_no_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got no reference pack, expected .*one bundle, or a pack"):
        bisect_pack(tmp_path, tmp_path)
