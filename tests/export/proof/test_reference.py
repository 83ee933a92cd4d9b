"""The validator on packs that were altered on purpose, and the packs that the pipelines write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import small_bundles

from edge_export.proof.reference import CheckReport, check_reference, write_reference
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import write_wav


def uniform(seed: int, low: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(low, 10, shape)


ARRAYS: dict[str, NDArray[Any]] = {
    "mel_spectrogram.npy": uniform(1, -4, (80, 161)),
    "audio_features_padded.npy": uniform(2, 0, (49, 512)).astype(np.float32),
}
for number in range(47):
    frame_name = f"frames/frame_{number:05d}_reshaped.npy"
    ARRAYS[frame_name] = uniform(number, 0, (32, 16, 16)).astype(np.float32)


def write_arrays(folder: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    for name, array in arrays.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, array)
    return folder


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_arrays(tmp_path / "reference", ARRAYS)


def check(reference: Path, changes: dict[str, Any], **options: Any) -> CheckReport:
    """A port whose arrays are the reference's but for ``changes``: functions of the array, None drops it."""
    arrays = {
        name: changes.get(name, np.asarray)(array)
        for name, array in ARRAYS.items()
        if changes.get(name, np.asarray) is not None
    }
    return check_reference(reference, write_arrays(reference.parent / "port", arrays), **options)


def row(report: CheckReport, name: str) -> tuple[str, str]:
    (found,) = [(r.status, r.remark) for r in report.rows if r.file == name]
    return found


# verdicts --------------------------------------------------------------------------------------------------


def test_an_equal_port_passes(reference: Path) -> None:
    report = check(reference, {})
    assert report.passed
    assert len(report.rows) == len(ARRAYS)
    assert all(r.comparison is not None and r.comparison.max_abs == 0 for r in report.rows)
    assert report.summary() == "49 of 49 arrays within 0.001"
    assert report.extra == ()


def test_the_metrics_are_those_of_the_arrays(reference: Path) -> None:
    name = "mel_spectrogram.npy"
    noise = np.random.default_rng(9).uniform(-5e-4, 5e-4, (80, 161))
    report = check(reference, {name: lambda mel: mel + noise})
    (comparison,) = [r.comparison for r in report.rows if r.file == name]
    assert comparison is not None
    difference = np.abs((ARRAYS[name] + noise) - ARRAYS[name])
    assert comparison.max_abs == pytest.approx(difference.max())
    assert comparison.mean_abs == pytest.approx(difference.mean())
    assert comparison.median_abs == pytest.approx(np.median(difference))
    assert comparison.max_rel == pytest.approx((difference / (np.abs(ARRAYS[name]) + 1e-8)).max())
    assert report.passed


@pytest.mark.parametrize("frame", range(47))
def test_one_wrong_number_in_any_frame_fails(reference: Path, frame: int) -> None:
    """SyncTalk_2D's validator looks at ten frames only."""

    def spoil(array: NDArray[Any]) -> NDArray[Any]:
        spoiled = array.copy()
        spoiled[31, 15, 15] += 0.01
        return spoiled

    name = f"frames/frame_{frame:05d}_reshaped.npy"
    report = check(reference, {name: spoil})
    assert not report.passed
    assert [r.file for r in report.rows if r.status != "PASS"] == [name]
    assert "above the tolerance 0.001" in row(report, name)[1]
    assert report.summary() == "48 of 49 arrays within 0.001, 1 failed"


def test_the_tolerance_decides(reference: Path) -> None:
    changes = {"mel_spectrogram.npy": lambda mel: mel + 5e-3}
    assert not check(reference, changes).passed
    assert check(reference, changes, tolerance=1e-2).passed
    for nonsense in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=f"--tolerance: got {nonsense}, expected a finite number"):
            check(reference, changes, tolerance=nonsense)


def test_missing_and_extra_files_are_named(reference: Path) -> None:
    port = reference.parent / "port"
    write_arrays(port, {"frames/frame_00047_reshaped.npy": np.zeros(1), "debug.npy": np.zeros(1)})
    (port / "notes.txt").write_text("not an array")
    report = check(reference, {"mel_spectrogram.npy": None})
    assert not report.passed
    assert row(report, "mel_spectrogram.npy") == ("MISSING", "the candidate has no such file")
    assert report.extra == ("debug.npy", "frames/frame_00047_reshaped.npy")
    assert report.summary() == (
        "48 of 49 arrays within 0.001, 1 missing, extra: debug.npy, frames/frame_00047_reshaped.npy"
    )
    assert "debug.npy  not in the reference" in report.table()


def test_extra_files_alone_do_not_fail(reference: Path) -> None:
    write_arrays(reference.parent / "port", {"debug.npy": np.zeros(1)})
    assert check(reference, {}).passed


Change = Callable[[NDArray[Any]], NDArray[Any]]


@pytest.mark.parametrize(
    ("change", "explanation"),
    [
        (
            lambda mel: mel.T,
            "is not the reference's (80, 161); matches within 0 when read as axes in the order (1, 0)",
        ),
        (
            lambda mel: mel[None],
            "matches within 0 when read as (80, 161): axes of length 1 differ",
        ),
        (lambda mel: mel.reshape(161, 80), "matches within 0 when read as (80, 161), row by row"),
        (lambda mel: mel.reshape(40, 322), "matches within 0 when read as (80, 161), row by row"),
        (
            lambda mel: mel[:, 2:-2],
            "read as 2 to 159 along axis 1 of the reference: 4 fewer than the reference",
        ),
        (
            lambda mel: np.pad(mel, ((0, 0), (0, 1))),
            "0 to 161 along axis 1 of it: 1 more than",
        ),
        (lambda mel: mel[:3, :3], "(3, 3) is not the reference's (80, 161)"),
        (lambda mel: np.where(mel > 3.9, np.nan, mel), "of the candidate are not finite"),
    ],
)
def test_arrays_that_cannot_be_compared_say_why(reference: Path, change: Change, explanation: str) -> None:
    report = check(reference, {"mel_spectrogram.npy": change})
    status, remark = row(report, "mel_spectrogram.npy")
    assert status == "FAIL"
    assert explanation in remark


def test_another_dtype_is_said_and_passes(reference: Path) -> None:
    report = check(reference, {"mel_spectrogram.npy": lambda mel: mel.astype(np.float32)})
    assert report.passed
    assert row(report, "mel_spectrogram.npy") == ("PASS", "float32 where the reference is float64")


# refusals --------------------------------------------------------------------------------------------------


def test_damaged_arrays_of_a_port_fail_alone(reference: Path) -> None:
    check(reference, {})
    port = reference.parent / "port"
    whole = (port / "mel_spectrogram.npy").read_bytes()
    for content in (b"", b"hello", whole[:60], whole[:-8], whole.replace(b"}", b" ")):
        (port / "mel_spectrogram.npy").write_bytes(content)
        report = check_reference(reference, port)
        status, remark = row(report, "mel_spectrogram.npy")
        assert status == "FAIL"
        assert remark.startswith("got ")
        assert "; the file is " in remark
        assert report.summary() == "48 of 49 arrays within 0.001, 1 failed"
        assert remark in report.table()


def test_a_damaged_reference_is_refused_by_name(reference: Path) -> None:
    check(reference, {})
    whole = (reference / "mel_spectrogram.npy").read_bytes()
    (reference / "mel_spectrogram.npy").write_bytes(whole[:-8])
    with pytest.raises(InputError, match=r"mel_spectrogram\.npy: got 103032 bytes .*, expected 103040"):
        check_reference(reference, reference.parent / "port")


def test_a_pipe_is_no_array(reference: Path) -> None:
    check(reference, {})
    port = reference.parent / "port"
    for folder in (port, reference):
        (folder / "mel_spectrogram.npy").unlink()
        os.mkfifo(folder / "mel_spectrogram.npy")
        if folder == port:
            report = check_reference(reference, port)
            assert row(report, "mel_spectrogram.npy") == (
                "FAIL",
                "got a pipe, expected an array of numbers in numpy's .npy format",
            )
    with pytest.raises(InputError, match=r"reference/mel_spectrogram\.npy: got a pipe"):
        check_reference(reference, port)


def test_a_folder_is_no_array(reference: Path) -> None:
    (reference.parent / "port" / "mel_spectrogram.npy").mkdir(parents=True)
    report = check(reference, {"mel_spectrogram.npy": None})
    assert row(report, "mel_spectrogram.npy") == ("FAIL", "a folder where the reference has a file")


def test_pickles_are_never_opened(reference: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "run",))

    check(reference, {})
    np.save(reference.parent / "port/mel_spectrogram.npy", np.array([Payload()]), allow_pickle=True)
    status, remark = row(check_reference(reference, reference.parent / "port"), "mel_spectrogram.npy")
    assert status == "FAIL"
    assert "got values of type object" in remark
    assert not (tmp_path / "run").exists()


def test_text_is_no_array_of_numbers(reference: Path) -> None:
    report = check(reference, {"mel_spectrogram.npy": lambda _mel: np.array(["hello"])})
    assert row(report, "mel_spectrogram.npy") == (
        "FAIL",
        "got values of type <U5, expected an array of numbers in numpy's .npy format",
    )


def test_folders_that_make_no_sense_are_refused(reference: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="gone: got no such folder"):
        check_reference(reference, tmp_path / "gone")
    with pytest.raises(InputError, match="file: got a file"):
        check_reference(tmp_path / "file", reference)
    with pytest.raises(InputError, match=r"empty: got no \.npy files, expected a reference pack"):
        check_reference(tmp_path / "empty", reference)
    with pytest.raises(ConfigError, match="got the reference itself"):
        check_reference(reference, reference / "frames" / "..")
    assert not check_reference(reference, tmp_path / "empty").passed


# what is printed -------------------------------------------------------------------------------------------


def test_the_table_shows_failures_and_sums_up_the_rest(reference: Path) -> None:
    report = check(reference, {"frames/frame_00007_reshaped.npy": lambda a: a + 0.25})
    lines = report.table().splitlines()
    assert lines[0].split() == ["file", "max_abs", "mean_abs", "median_abs", "max_rel", "mean_rel"]
    assert len(lines) == 5
    (failed,) = [line for line in lines if "frame_00007" in line]
    assert "2.50e-01" in failed
    assert "FAIL" in failed
    assert any("frames/frame_*_reshaped.npy (46 files)" in line and "PASS" in line for line in lines)


def test_many_failures_are_cut_short(reference: Path) -> None:
    names = [name for name in ARRAYS if name.startswith("frames/")]
    report = check(reference, dict.fromkeys(names, lambda a: a + 1))
    lines = report.table().splitlines()
    assert any("… and 27 more of frames/frame_*_reshaped.npy" in line for line in lines)
    assert len(lines) == 1 + 2 + 20 + 1


def test_the_json_holds_every_row(reference: Path) -> None:
    report = check(reference, {"mel_spectrogram.npy": lambda mel: mel.T, "audio_features_padded.npy": None})
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert plain["passed"] is False
    assert plain["tolerance"] == 1e-3
    assert len(plain["rows"]) == 49
    by_name = {r["file"]: r for r in plain["rows"]}
    assert by_name["audio_features_padded.npy"]["comparison"] is None
    assert by_name["mel_spectrogram.npy"]["comparison"]["max_abs"] is None
    assert not (reference.parent / "port" / "validation_results.json").exists()


# writing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    write_wav(tmp_path / "speech.wav", np.sin(np.arange(8000) * 0.1) * 0.5, 16000)
    return tmp_path / "speech.wav"


def test_a_pack_of_the_talking_head_checks_itself(speech: Path, tmp_path: Path) -> None:
    bundle = small_bundles.write_encoder(tmp_path / "encoder")
    pack = write_reference("talking-head", speech, [bundle], tmp_path / "pack")
    again = write_reference("talking-head", speech, [bundle], tmp_path / "again", batch_size=1)
    report = check_reference(pack, again)
    assert report.passed
    assert len(report.rows) == 4 + 2 * 9
    assert report.extra == ()
    other = write_reference("talking-head", speech, [bundle], tmp_path / "other", fps=30)
    assert not check_reference(pack, other).passed


def test_a_pack_of_the_vocoder_checks_itself(speech: Path, tmp_path: Path) -> None:
    bundle = small_bundles.write_vocoder(tmp_path / "vocoder")
    pack = write_reference("vocoder", speech, [bundle], tmp_path / "pack")
    again = write_reference("vocoder", speech, [bundle], tmp_path / "again", chunk_frames=50)
    report = check_reference(pack, again)
    assert report.passed
    assert [r.file for r in report.rows] == ["mel.npy", "wav.npy"]


def test_impossible_requests_are_refused(speech: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PIPELINE: got 'singing', expected one of talking-head, vocoder"):
        write_reference("singing", speech, ["bundle"], tmp_path / "pack")
    with pytest.raises(ConfigError, match="bundles of vocoder: got 2, expected exactly one"):
        write_reference("vocoder", speech, ["a", "b"], tmp_path / "pack")
