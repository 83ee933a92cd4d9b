"""`run mel-inversion` and `reference mel-inversion` on files, with and without nets."""

from __future__ import annotations

import json
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_inversions
from tests.small_inversions import BINS, MEL

from edge_export.assets import SENTENCE
from edge_export.proof.reference import check_reference, write_reference
from edge_export.run import run
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.errors import BundleError, ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
from edge_runtime.pipelines.mel_inversion.result import write_result
from edge_runtime.store.targets import sha256_tree

FIGURES = {"si_ssdr_db", "spectral_convergence", "spectral_convergence_db", "log_spectral_distance_db"}


def facts(folder: Path, name: str = "metadata.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inversions.write_inversion(tmp_path_factory.mktemp("bundles") / "net", 0.1)


@pytest.fixture(scope="module", params=["net", "block"])
def degli(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "degli"
    return small_inversions.write_degli(folder, (0.0, 0.05, 0.0), request.param)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    write_wav(tmp_path / "speech.wav", read_audio(SENTENCE, 8000).samples[2000:10017], 8000)
    return tmp_path / "speech.wav"


def test_without_a_bundle_audio_comes_back_with_its_figures(tmp_path: Path) -> None:
    out = run("mel-inversion", SENTENCE, [], tmp_path / "out", preset="hifigan-22k", iterations=16)
    assert {path.name for path in out.iterdir()} == {
        *("prediction.wav", "mel.npy", "magnitude.npy", "metrics.json", "metadata.json"),
        *("mel.png", "magnitude.png", "prediction.png"),
    }
    made, spoken = read_audio(out / "prediction.wav"), read_audio(SENTENCE, 22050)
    assert (made.sample_rate, made.samples.size) == (22050, spoken.samples.size)
    metrics = facts(out, "metrics.json")
    assert set(metrics["estimate"]) & set(metrics["magnitude"]) & set(metrics["result"]) >= FIGURES
    for name, lowest, highest in (("pesq", 1, 4.6), ("stoi", 0.7, 1)):
        figure = metrics["result"][name]
        assert lowest < figure < highest if find_spec(name.replace("st", "pyst")) else "pip" in figure
    assert facts(out)["executed_by"].endswith("16 iterations of fgla, numpy")
    assert facts(out)["samples"] == made.samples.size
    for name, bands in (("mel.png", 80), ("magnitude.png", 513), ("prediction.png", 513)):
        head = (out / name).read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        assert head[:4] == b"\x89PNG"
        assert height % bands == 0
        assert width >= 400


def test_a_mel_alone_has_no_figures(tmp_path: Path, speech: Path, net: Path) -> None:
    samples = read_audio(speech).samples
    np.save(tmp_path / "mel.npy", np.exp(MelFrontEnd(MEL)(samples)))
    out = run("mel-inversion", tmp_path / "mel.npy", [net], tmp_path / "out", linear=True, iterations=4)
    assert not (out / "metrics.json").exists()
    assert read_audio(out / "prediction.wav").samples.size == samples.size // 32 * 32
    np.testing.assert_allclose(np.load(out / "mel.npy"), MelFrontEnd(MEL)(samples), atol=1e-5)


def test_nets_take_both_steps_in_any_order(tmp_path: Path, speech: Path, net: Path, degli: Path) -> None:
    first = run("mel-inversion", speech, [net, degli], tmp_path / "a")
    second = run("mel-inversion", speech, [degli, net], tmp_path / "b")
    assert sha256_tree(first) == sha256_tree(second)
    assert facts(first)["phase"] == "degli"
    assert facts(first)["iterations"] == 10
    assert facts(first)["executed_by"].count("onnxruntime") == 2
    assert np.load(first / "magnitude.npy").shape[0] == BINS
    assert facts(first, "metrics.json")["magnitude"] != facts(first, "metrics.json")["estimate"]
    mil_free = run(
        "mel-inversion", speech, [net, degli], tmp_path / "c", backend="onnx-reference", iterations=1
    )
    assert "reference" in facts(mil_free)["executed_by"]


def test_beyond_full_scale_nothing_is_clipped(tmp_path: Path) -> None:
    loud = read_audio(SENTENCE).samples
    write_wav(tmp_path / "loud.wav", 3 * loud / np.abs(loud).max(), 16000, "float32")
    out = run("mel-inversion", tmp_path / "loud.wav", [], tmp_path / "out", iterations=4)
    assert facts(out)["encoding"] == "float32"
    assert np.abs(read_audio(out / "prediction.wav").samples).max() > 1


@pytest.mark.filterwarnings("ignore:.*silence alone")
def test_silence_has_figures_too(tmp_path: Path) -> None:
    write_wav(tmp_path / "silence.wav", np.zeros(9000, np.float32), 16000)
    out = run("mel-inversion", tmp_path / "silence.wav", [], tmp_path / "out", iterations=1)
    result = facts(out, "metrics.json")["result"]
    assert "silence" in result["pesq"]
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"phase": "degli"}, "phase: got degli without a bundle"),
        ({"iterations": -3}, "iterations: got -3"),
        ({"momentum": 2.5}, "momentum: got 2.5, expected a number from 0 to below 2"),
        ({"preset": "hifigan"}, "preset: got 'hifigan'"),
        ({"fps": 30}, "--fps: got 30 for mel-inversion"),
    ],
)
def test_refused_options_leave_nothing(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    for work in (run, write_reference):
        with pytest.raises(ConfigError, match=sentence):
            work("mel-inversion", SENTENCE, [], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_refused_files_leave_nothing(tmp_path: Path, net: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((80, 30)))
    np.save(tmp_path / "nan.npy", np.full((MEL.bands, 30), np.nan))
    for name, sentence in (
        ("wide.npy", r"wide\.npy: mel: got shape \(80, 30\), expected \(24, frames\)"),
        ("nan.npy", r"nan\.npy: mel: got a value that is NaN"),
        ("gone.npy", r"gone\.npy: got no such file"),
        ("gone.wav", r"gone\.wav: audio file: got no such file"),
    ):
        with pytest.raises(InputError, match=sentence) as refusal:
            run("mel-inversion", tmp_path / name, [net], tmp_path / "out")
        assert str(refusal.value).count(name) == 1
    shutil.copytree(net, tmp_path / "damaged")
    (tmp_path / "damaged" / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"damaged/model\.onnx"):
        run("mel-inversion", SENTENCE, [tmp_path / "damaged"], tmp_path / "out")
    with pytest.raises(ConfigError, match="bundles of mel-inversion: got two of the net mel-inversion"):
        run("mel-inversion", SENTENCE, [net, net], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pack_checks_itself_and_finds_a_wrong_stage(
    tmp_path: Path, speech: Path, net: Path, degli: Path
) -> None:
    pack = write_reference("mel-inversion", speech, [net, degli], tmp_path / "pack", iterations=3)
    again = write_reference(
        "mel-inversion", speech, [net, degli], tmp_path / "again", iterations=3, chunk_frames=40
    )
    report = check_reference(pack, again)
    assert report.passed
    assert [row.file for row in report.rows] == [
        *(f"conditioned_wav_{count:03d}.npy" for count in range(4)),
        *("estimate.npy", "linear_mel.npy", "magnitude.npy", "mel.npy"),
        *("phase_start.npy", "target.npy", "wav.npy"),
    ]
    fewer = write_reference(
        "mel-inversion", speech, [net, degli], tmp_path / "fewer", iterations=3, updates=0
    )
    wrong = {row.file for row in check_reference(pack, fewer).rows if row.status == "FAIL"}
    assert wrong == {"estimate.npy"}  # the net gives the magnitude


# long recordings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["fgla", "degli"])
def test_files_hold_what_memory_holds(
    phase: str, tmp_path: Path, speech: Path, net: Path, degli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks of 50 and 128 frames, 250 in all, and through files; at once, in memory."""
    bundles: dict[str, Any] = {"bundle": net} | ({"degli": degli} if phase == "degli" else {})
    whole = MelInversion(**bundles, iterations=3)
    made, audio = whole.process_file(speech)
    assert audio is not None
    with monkeypatch.context() as patched:
        patched.setattr("edge_runtime.pipelines.mel_inversion.nets.LONG_FRAMES", 50)
        patched.setattr("edge_runtime.dsp.long_griffin_lim.CHUNK_FRAMES", 128)
        long = MelInversion(**bundles, iterations=3, chunk_frames=40)
        (tmp_path / "out").mkdir()
        write_result(long, tmp_path / "out", speech)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "mel.npy"), made.mel)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "magnitude.npy"), made.magnitude, rtol=1e-5)
    samples = read_audio(tmp_path / "out" / "prediction.wav").samples
    np.testing.assert_allclose(samples, made.samples, atol=1.1 / 32768)
    assert not [
        path for path in (tmp_path / "out").iterdir() if path.suffix not in (".npy", ".wav", ".png", ".json")
    ]
    figures = facts(tmp_path / "out", "metrics.json")
    for stage, values in whole.measure(audio.samples, made).items():
        for name, value in values.items():
            assert figures[stage][name] == pytest.approx(value, rel=1e-4), (stage, name)


def test_memory_grows_with_audio_and_mel_alone(tmp_path: Path) -> None:
    """From one minute to four, in a small front end; PESQ and STOI take the silence for pauses."""
    front_end = MelConfig(sample_rate=4000, n_fft=64, hop_length=32, win_length=64, n_mels=12)
    peaks = []
    for minutes in (1, 4):
        samples = np.zeros(minutes * 60 * 4000, np.float32)
        samples[:8000] = read_audio(SENTENCE, 4000).samples[:8000]
        write_wav(tmp_path / "long.wav", samples, 4000)
        (tmp_path / f"{minutes}").mkdir()
        pipeline = MelInversion(preset=front_end, iterations=1, updates=0)
        tracemalloc.start()
        write_result(pipeline, tmp_path / f"{minutes}", tmp_path / "long.wav")
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    grown = 3 * 60 * (2 * 4000 + 125 * 12) * 4 / 2**20  # audio, samples, mel; a magnitude has 2.8 MB
    assert peaks[1] - peaks[0] < grown + 1, (peaks, grown)


def test_a_full_disk_is_one_sentence(disk_of: Callable[[str], Path]) -> None:
    disk = disk_of("500k")
    with pytest.raises(TargetError, match=r"disk/out: got no space left on the disk"):
        run("mel-inversion", SENTENCE, [], disk / "out", iterations=1)
    assert list(disk.iterdir()) == []
