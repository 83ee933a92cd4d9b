"""The pipeline on a real bundle of a small net whose features the test computes itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small_bundles

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import BundleError, ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines.bundle_net import BundleNet
from edge_runtime.pipelines.talking_head.pipeline import TalkingHead
from edge_runtime.pipelines.talking_head.system import SYSTEM
from edge_runtime.store.bundle import Geometry, open_bundle
from edge_runtime.store.reading import read_array

SPEECH = np.sin(np.cumsum(np.linspace(0.02, 0.3, 32000))).astype(np.float32) * 0.5  # 2 s at 16 kHz


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundles.write_encoder(tmp_path_factory.mktemp("bundles") / "encoder")


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    write_wav(path, SPEECH, 16000)
    return path


def expected_features(mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the small encoder gives, window by window, for the 47 frames of two seconds."""
    starts = [min(int(80.0 * (i / 25.0)), mel.shape[1] - 16) for i in range(47)]
    windows = np.stack([mel[:, s : s + 16].reshape(-1) for s in starts]).astype(np.float64)
    features: NDArray[np.float64] = np.maximum(windows @ small_bundles.encoder_weights(), 0)
    return features


# processing ------------------------------------------------------------------------------------------------


def test_two_seconds_give_the_shapes_of_the_origin(bundle: Path) -> None:
    result = TalkingHead(bundle).process(SPEECH)
    assert result.mel is not None
    assert result.windows is not None
    assert result.mel.shape == (80, 161)
    assert result.mel.dtype == np.float32
    assert result.windows.shape == (47, 16, 80)
    assert result.features.shape == (47, 512)
    assert result.padded.shape == (49, 512)
    assert result.n_frames == 47
    assert result.frame_features(10).shape == (32, 16, 16)
    assert result.frame_features(10, reshape=False).shape == (16, 512)
    assert result.features.dtype == result.frame_features(0).dtype == np.float32


def test_features_are_those_of_the_windows_in_order(bundle: Path) -> None:
    result = TalkingHead(bundle).process(SPEECH)
    mel = MelFrontEnd(PRESETS["talking-head"])(SPEECH)
    np.testing.assert_array_equal(result.mel, mel)
    np.testing.assert_allclose(result.features, expected_features(mel), atol=1e-4)
    np.testing.assert_array_equal(result.padded[1:-1], result.features)
    np.testing.assert_array_equal(result.padded[[0, -1]], result.features[[0, -1]])


def test_frames_carry_their_context(bundle: Path) -> None:
    head = TalkingHead(bundle)
    padded = head.process(SPEECH).padded
    np.testing.assert_array_equal(head.frame_features(20), padded[12:28].reshape(32, 16, 16))
    first = head.frame_features(0, reshape=False)
    np.testing.assert_array_equal(first[:8], 0)
    np.testing.assert_array_equal(first[8:], padded[:8])
    head.frame_features(48)  # SyncTalk_2D's renderer runs over all n + 2 rows
    with pytest.raises(InputError, match="frame: got 49, expected 0 … 48"):
        head.frame_features(49)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 80))
def test_the_batch_size_changes_nothing(bundle: Path, batch_size: int) -> None:
    whole = TalkingHead(bundle).process(SPEECH).features
    batched = TalkingHead(bundle, batch_size=batch_size).process(SPEECH).features
    np.testing.assert_allclose(batched, whole, atol=1e-5, rtol=0)


def test_a_filled_batch_changes_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = TalkingHead(bundle).process(SPEECH).features
    pipeline = TalkingHead(bundle, batch_size=7, length_buckets=True)
    assert pipeline.net is not None
    net, sizes = pipeline.net, set[int]()
    monkeypatch.setattr(pipeline, "net", _counting(net, sizes))
    np.testing.assert_allclose(pipeline.process(SPEECH).features, whole, rtol=1e-6, atol=1e-6)
    assert sizes == {7}


def _counting(net: BundleNet, sizes: set[int]) -> Any:
    """The net, noting the sizes of its batches."""

    class Counting:
        lengths = net.lengths

        def __call__(self, values: NDArray[Any]) -> NDArray[np.float32]:
            sizes.add(len(values))
            return net(values)

    return Counting()


def test_other_frame_rates_move_the_windows(bundle: Path) -> None:
    result = TalkingHead(bundle, fps=50).process(SPEECH)
    assert result.n_frames == int(145 / 80.0 * 50) + 2


def test_files_are_averaged_and_resampled(bundle: Path, tmp_path: Path) -> None:
    rate = 44100
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    soundfile.write(tmp_path / "a.flac", np.stack([tone, 1e-3 * tone], axis=1), rate)
    result = TalkingHead(bundle).process_file(tmp_path / "a.flac")
    direct = TalkingHead(bundle).process(np.sin(2 * np.pi * 440 * np.arange(32000) / 16000) / 2)
    assert result.mel is not None
    assert direct.mel is not None
    band = int(np.argmax(direct.mel[:, 80]))
    np.testing.assert_allclose(result.mel[band, 5:-5], direct.mel[band, 5:-5], atol=0.01)
    assert result.n_frames == 47


def test_an_open_bundle_serves_too(bundle: Path) -> None:
    assert TalkingHead(open_bundle(bundle)).process(SPEECH).n_frames == 47


# other modes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "size", "shape"), [("hubert", 2048, (32, 32, 32)), ("wenet", 8192, (256, 16, 32))]
)
def test_external_features_pass_through(mode: str, size: int, shape: tuple[int, int, int]) -> None:
    features = np.random.default_rng(1).normal(size=(30, size)).astype(np.float32)
    head = TalkingHead(None, mode)
    result = head.process_features(features)
    assert result.mel is None
    assert result.windows is None
    assert result.n_frames == 30
    np.testing.assert_array_equal(head.frame_features(15), features[7:23].reshape(shape))


def test_external_features_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match=r"hubert features: got shape \(30, 512\).*these are ave features"):
        TalkingHead(None, "hubert").process_features(np.zeros((30, 512)))


@pytest.mark.parametrize(("mode", "size"), [("hubert", 32768), ("wenet", 131072)])
def test_legacy_padding_is_shape_without_meaning(bundle: Path, mode: str, size: int) -> None:
    head = TalkingHead(bundle, mode, legacy_padding=True)
    head.process(SPEECH)
    ave = TalkingHead(bundle).process(SPEECH)
    values = head.frame_features(10).reshape(-1)
    assert values.shape == (size,)
    np.testing.assert_array_equal(values[:8192], ave.frame_features(10).reshape(-1))
    np.testing.assert_array_equal(values[8192:], 0)


def test_audio_for_a_mode_of_external_features_is_refused(bundle: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"mode hubert: got audio, expected hubert features.*legacy_padding"
    ):
        TalkingHead(bundle, "hubert").process(SPEECH)


# refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [0, 1, 399, 2999])
def test_short_audio_says_how_much_is_needed(bundle: Path, samples: int) -> None:
    with pytest.raises(InputError, match=f"audio: got {samples} samples, expected at least 3000"):
        TalkingHead(bundle).process(SPEECH[:samples])


def test_the_shortest_audio_gives_two_frames(bundle: Path) -> None:
    assert TalkingHead(bundle).process(SPEECH[:3000]).n_frames == 2


def test_refusals_name_the_file(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    write_wav(path, SPEECH[:1000], 16000)
    for work in (
        TalkingHead(bundle).process_file,
        lambda p: SYSTEM.save_reference(TalkingHead(bundle), tmp_path / "out", source=p),
    ):
        with pytest.raises(InputError, match=r"short\.wav: audio: got 1000 samples"):
            work(path)
    assert not (tmp_path / "out").exists()


def test_bad_samples_are_refused(bundle: Path) -> None:
    bad = SPEECH.copy()
    bad[5] = np.nan
    with pytest.raises(InputError, match=r"NaN|nan|finite"):
        TalkingHead(bundle).process(bad)
    with pytest.raises(InputError, match="int16"):
        TalkingHead(bundle).process((SPEECH * 32767).astype(np.int16))
    with pytest.raises(InputError, match="shape"):
        TalkingHead(bundle).process(np.stack([SPEECH, SPEECH]))


def test_impossible_options_are_refused(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="mode: got 'deepspeech'"):
        TalkingHead(bundle, "deepspeech")
    with pytest.raises(ConfigError, match="fps: got 0"):
        TalkingHead(bundle, fps=0)
    with pytest.raises(ConfigError, match="batch_size: got 0"):
        TalkingHead(bundle, batch_size=0)
    with pytest.raises(ConfigError, match="bundle: got none, expected a bundle of the audio-encoder net"):
        TalkingHead(None)
    with pytest.raises(InputError, match="got no recording"):
        TalkingHead(bundle).frame_features(0)


def test_bundles_of_other_nets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="net: got hifigan, expected audio-encoder"):
        TalkingHead(small_bundles.write_vocoder(tmp_path / "vocoder"))
    with pytest.raises(BundleError, match="expected a bundle"):
        TalkingHead(tmp_path / "gone")


def test_bundles_of_other_shapes_are_refused(tmp_path: Path) -> None:
    mel = open_bundle(small_bundles.write_encoder(tmp_path / "a")).manifest.inputs[0]
    wide = type(mel)(mel.name, mel.dtype, ("batch", 1, 64, 16), mel.meaning, mel.unit)
    path = small_bundles.write_encoder(tmp_path / "b", inputs=(wide,))
    with pytest.raises(
        BundleError, match=r"b: inputs: got mel \('batch', 1, 64, 16\), expected one of shape"
    ):
        TalkingHead(path)


def test_bundles_of_another_mel_are_refused(tmp_path: Path) -> None:
    path = small_bundles.write_encoder(
        tmp_path / "b", front_end=PRESETS["hifigan-22k"], geometry=Geometry(None, None, None)
    )
    with pytest.raises(BundleError, match="front_end: got 22050 Hz, hop 256, 80 bands, expected 16000 Hz"):
        TalkingHead(path)


def test_an_artifact_that_is_not_there_is_named(bundle: Path) -> None:
    with pytest.raises(BundleError, match="onnx fp32, expected onnx fp16"):
        TalkingHead(bundle, precision="fp16")


# the reference pack ----------------------------------------------------------------------------------------


def test_the_pack_is_the_origins(bundle: Path, speech: Path, tmp_path: Path) -> None:
    out = SYSTEM.save_reference(TalkingHead(bundle), tmp_path / "pack", source=speech)
    shapes = {
        path.relative_to(out).as_posix(): (read_array(path).shape, str(read_array(path).dtype))
        for path in out.rglob("*.npy")
    }
    frames = {
        f"frames/frame_{i:05d}_{kind}.npy": (shape, "float32")
        for i in range(47)
        for kind, shape in (("window", (16, 512)), ("reshaped", (32, 16, 16)))
    }
    assert shapes == frames | {
        "mel_spectrogram.npy": ((80, 161), "float64"),
        "mel_windows.npy": ((47, 16, 80), "float64"),
        "audio_features_raw.npy": ((47, 512), "float32"),
        "audio_features_padded.npy": ((49, 512), "float32"),
    }
    others = {path.name for path in out.iterdir() if path.suffix != ".npy"}
    assert others == {
        "frames",
        "metadata.json",
        "summary.json",
        "VALIDATION_INSTRUCTIONS.json",
        "reference_audio.wav",
    }


def test_the_pack_holds_every_stage(bundle: Path, speech: Path, tmp_path: Path) -> None:
    head = TalkingHead(bundle)
    out = SYSTEM.save_reference(head, tmp_path / "pack", source=speech)
    samples = read_audio(out / "reference_audio.wav").samples
    np.testing.assert_array_equal(samples, read_audio(speech).samples)
    mel = MelFrontEnd(PRESETS["talking-head"], "float64")(samples)
    np.testing.assert_array_equal(read_array(out / "mel_spectrogram.npy"), mel)
    windows = read_array(out / "mel_windows.npy")
    np.testing.assert_array_equal(windows[5], mel[:, 16:32].T)
    features = read_array(out / "audio_features_raw.npy")
    np.testing.assert_allclose(features, expected_features(mel.astype(np.float32)), atol=1e-4)
    padded = read_array(out / "audio_features_padded.npy")
    np.testing.assert_array_equal(padded, np.concatenate([features[:1], features, features[-1:]]))
    window = read_array(out / "frames/frame_00020_window.npy")
    np.testing.assert_array_equal(window, padded[12:28])
    np.testing.assert_array_equal(
        read_array(out / "frames/frame_00020_reshaped.npy"), window.reshape(32, 16, 16)
    )


def test_the_pack_describes_itself(bundle: Path, speech: Path, tmp_path: Path) -> None:
    out = SYSTEM.save_reference(TalkingHead(bundle), tmp_path / "pack", source=speech)
    metadata = json.loads((out / "metadata.json").read_text())
    mel, padded = read_array(out / "mel_spectrogram.npy"), read_array(out / "audio_features_padded.npy")
    assert metadata == {
        "audio_path": "speech.wav",
        "mode": "ave",
        "fps": 25,
        "windows": "synctalk",
        "n_frames": 47,
        "mel_shape": [80, 161],
        "mel_windows_shape": [47, 16, 80],
        "features_shape": [47, 512],
        "features_padded_shape": [49, 512],
        "mel_value_range": [mel.min(), mel.max()],
        "features_value_range": [padded.min(), padded.max()],
    }
    summary = json.loads((out / "summary.json").read_text())
    assert summary == {
        "total_frames": 47,
        "mode": "ave",
        "fps": 25,
        "window_shape": [16, 512],
        "reshaped_shape": [32, 16, 16],
    }
    instructions = json.loads((out / "VALIDATION_INSTRUCTIONS.json").read_text())
    assert list(instructions) == [
        "title",
        "description",
        "steps",
        "files",
        "validation_criteria",
        "provenance",
    ]
    assert len(instructions["steps"]) == 5
    assert {name.rstrip("/") for name in instructions["files"]} == {
        path.name for path in out.iterdir() if path.name != "VALIDATION_INSTRUCTIONS.json"
    }
    assert instructions["validation_criteria"] == {
        "mel_spectrogram": {"shape": [80, 161], "value_range": [-4.0, 4.0]},
        "audio_features": {"shape": [47, 512]},
        "frame_features_ave": {"shape": [32, 16, 16]},
        "numerical_tolerance": 1e-3,
    }
    assert instructions["provenance"]["weights_format"] == "random seed 3"
    assert "onnxruntime" in instructions["provenance"]["executed_by"]
    assert instructions["provenance"]["front_end"] == PRESETS["talking-head"].to_json() | {
        "scale_from": [-100.0, 0.0],
        "scale_to": [-4.0, 4.0],
    }


def test_packs_of_legacy_padding_say_so(bundle: Path, speech: Path, tmp_path: Path) -> None:
    head = TalkingHead(bundle, "hubert", legacy_padding=True)
    out = SYSTEM.save_reference(head, tmp_path / "pack", source=speech)
    assert read_array(out / "frames/frame_00003_reshaped.npy").shape == (32, 32, 32)
    instructions = json.loads((out / "VALIDATION_INSTRUCTIONS.json").read_text())
    assert "padded with zeros" in instructions["description"]
    assert "frame_features_hubert" in instructions["validation_criteria"]


def test_resampled_audio_is_kept_without_loss(bundle: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.sin(np.arange(44100) * 0.1) * 0.3, 44100)
    out = SYSTEM.save_reference(TalkingHead(bundle), tmp_path / "pack", source=tmp_path / "a.wav")
    kept = read_audio(out / "reference_audio.wav")
    np.testing.assert_array_equal(kept.samples, read_audio(tmp_path / "a.wav", 16000).samples)
    assert soundfile.info(out / "reference_audio.wav").subtype == "FLOAT"


def test_the_same_recording_gives_the_same_bytes(bundle: Path, speech: Path, tmp_path: Path) -> None:
    packs = [
        SYSTEM.save_reference(TalkingHead(bundle), tmp_path / name, source=speech) for name in ("one", "two")
    ]
    one, two = ({p.relative_to(o): p.read_bytes() for p in o.rglob("*.*")} for o in packs)
    assert one == two


def test_packs_replace_packs_only(bundle: Path, speech: Path, tmp_path: Path) -> None:
    head, out = TalkingHead(bundle), tmp_path / "pack"
    SYSTEM.save_reference(head, out, source=speech)
    with pytest.raises(TargetError, match="got an existing folder"):
        SYSTEM.save_reference(head, out, source=speech)
    head.save_reference(speech, out, overwrite=True)
    (out / "thesis.tex").write_text("precious")
    with pytest.raises(TargetError, match="did not write"):
        SYSTEM.save_reference(head, out, overwrite=True, source=speech)
    assert (out / "thesis.tex").read_text() == "precious"


def test_wav2lips_count_gives_its_windows(bundle: Path) -> None:
    sound = SPEECH[: 18 * 200]  # 19 mel frames
    ours, theirs = (TalkingHead(bundle, windows=name).process(sound) for name in ("synctalk", "wav2lip"))
    assert (ours.n_frames, theirs.n_frames) == (2, 3)
    assert theirs.mel is not None
    assert theirs.windows is not None
    np.testing.assert_array_equal(theirs.windows[1], theirs.mel[:, 3:19].T)
    np.testing.assert_array_equal(theirs.windows[2], theirs.mel[:, 3:19].T)
    np.testing.assert_allclose(theirs.features[:2], ours.features, atol=1e-5)
    with pytest.raises(ConfigError, match="windows: got 'both'"):
        TalkingHead(bundle, windows="both")
