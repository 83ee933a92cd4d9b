"""Reading of subjects' files: a trial as the whole, forms that others write, and what is wrong."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recorded_ecog import BINS, FRAMES, STARTS, recorded

from edge_runtime.errors import ConfigError, EdgeWarning, InputError
from edge_runtime.pipelines.ecog_speech.recordings import HOP, PAST, write_recording
from edge_runtime.pipelines.ecog_speech.subject_file import Series, read_recording, read_trial
from edge_runtime.store import hdf5

ECOG, WAVE, SPECTROGRAM = "ecog_alldataset", "wave_re_alldataset", "wave_re_spec_alldataset"
STARTS_NAME, ENDS_NAME = "start_ind_re_valid_alldataset", "end_ind_re_valid_alldataset"
NOISE, LABELS, PITCH = "noisesample_re_alldataset", "label_alldataset", "pitch_re_alldataset"


def written(path: Path, changes: dict[str, Any] | None = None, **arguments: Any) -> Path:
    """The file of a small recording with some datasets replaced, or made by a function of the old one."""
    write_recording(path, recorded())
    with h5py.File(path, "r+") as file:
        for name, value in (changes or {}).items():
            made = value(file[name][()]) if callable(value) else value
            del file[name]
            if made is not None:
                file.create_dataset(name, data=made, **arguments)
    return path


def with_nan(*electrodes: int, frame: int) -> Callable[[np.ndarray], np.ndarray]:
    def spoilt(ecog: np.ndarray) -> np.ndarray:
        ecog[frame, list(electrodes)] = np.nan
        return ecog

    return spoilt


@pytest.mark.parametrize("trial", range(len(STARTS)))
def test_a_trial_is_what_the_whole_holds(tmp_path: Path, trial: int) -> None:
    path = written(tmp_path / "S1.h5")
    whole, part = read_recording(path, bad=(2,)), read_trial(path, trial, bad=(2,))
    span = slice(part.first, part.first + 128)
    assert part.first == min(STARTS[trial] - 32, FRAMES - 128)
    assert np.array_equal(part.ecog, whole.ecog[span.start - PAST : span.stop])
    assert np.array_equal(part.wave, whole.wave[span.start * HOP : span.stop * HOP])
    for name in ("spectrogram", "pitch", "formants"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[span]), name
    assert (part.name, part.label) == ("S1", whole.labels[trial])
    assert np.array_equal(part.noise, whole.noise)


@pytest.mark.parametrize("labels", ["käse".encode("latin-1"), "ab".encode("utf-16-le")])
def test_labels_of_other_encodings_are_refused(tmp_path: Path, labels: bytes) -> None:
    path = written(tmp_path / "S1.h5", {LABELS: lambda x: np.array([labels] * len(x))})
    with pytest.raises(InputError, match=rf"{LABELS}: got .*, expected texts in UTF-8; another encoding"):
        read_trial(path, 0)


def test_an_empty_attribute_and_a_dangling_link_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "S1.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["gender"] = np.zeros(0)
    with pytest.raises(InputError, match="attribute gender: got '', expected Female or Male"):
        read_trial(path, 0)
    with h5py.File(path, "r+") as file:
        del file[PITCH]
        file[PITCH] = h5py.SoftLink("/nowhere")
    with pytest.raises(InputError, match=f"{PITCH}: got a link that leads nowhere"):
        read_trial(path, 0)


def test_the_number_of_bins_tells_the_sex_where_nothing_else_does(tmp_path: Path) -> None:
    path = written(tmp_path / "S1.h5")
    for given_sex, female in ((np.bytes_(b"Female"), True), ("male", False), (None, False)):
        with h5py.File(path, "r+") as file:
            del file.attrs["gender"]
            if given_sex is not None:
                file.attrs["gender"] = given_sex
        assert read_recording(path).female is female
        with h5py.File(path, "r+") as file:
            file.attrs["gender"] = "?"
    with pytest.raises(InputError, match=r"attribute gender: got '\?', expected Female or Male"):
        read_recording(path)


FORMS: dict[str, dict[str, Any]] = {
    "lying": {WAVE: lambda x: x.reshape(1, -1), PITCH: lambda x: x[None], STARTS_NAME: lambda x: x[None]},
    "standing": {WAVE: lambda x: x.reshape(-1), PITCH: lambda x: x[:, None], NOISE: lambda x: x[:, None]},
    "double": {ECOG: np.float64, SPECTROGRAM: np.float64, WAVE: np.float64, ENDS_NAME: np.float64},
    "texts": {LABELS: lambda x: [label.decode() for label in x]},
    "unvoiced": {PITCH: lambda x: np.where(x > 0, x, np.nan)},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_mean_the_same_are_read_the_same(tmp_path: Path, form: str) -> None:
    plain = read_recording(written(tmp_path / "S1.h5"))
    path = written(tmp_path / "S2.h5", FORMS[form])
    other, part = read_recording(path), read_trial(path, 1)
    for name in ("ecog", "wave", "spectrogram", "pitch", "starts", "ends", "noise", "labels"):
        assert np.array_equal(getattr(other, name), getattr(plain, name)), name
    assert np.array_equal(part.wave, plain.wave[part.first * HOP : (part.first + 128) * HOP])
    assert np.array_equal(part.pitch, plain.pitch[part.first : part.first + 128])  # type: ignore[arg-type,index]


@pytest.mark.parametrize("chunks", [(64, 16), (FRAMES, 1), (50, 3)])
def test_compressed_files_are_read_the_same(tmp_path: Path, chunks: tuple[int, int]) -> None:
    path = written(tmp_path / "S1.h5", {ECOG: lambda x: x}, chunks=chunks, compression="gzip")
    assert np.array_equal(read_recording(path).ecog, recorded().ecog)
    first = STARTS[2] - 32
    assert np.array_equal(read_trial(path, 2).ecog, recorded().ecog[first - PAST : first + 128])


class Chunked:
    """What `Series` needs of a dataset."""

    def __init__(self, values: np.ndarray, chunks: tuple[int, int] | None) -> None:
        self.values, self.chunks, self.shape, self.dtype = values, chunks, values.shape, values.dtype

    def __getitem__(self, where: Any) -> Any:
        return self.values[where]


@given(
    st.integers(1, 90), st.integers(1, 20), st.none() | st.tuples(st.integers(1, 90), st.integers(1, 20)),
    st.integers(1, 400), st.data(),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_scan_finds_the_broken_electrodes_whatever_the_blocks(
    frames: int, electrodes: int, chunks: tuple[int, int] | None, block: int, data: st.DataObject
) -> None:
    values = np.zeros((frames, electrodes), np.float32)
    for row, column in data.draw(
        st.lists(st.tuples(st.integers(0, frames - 1), st.integers(0, electrodes - 1)), max_size=5)
    ):
        values[row, column] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge_runtime.pipelines.ecog_speech.subject_file.BLOCK", block)
        series = Series("ecog", Chunked(values, chunks), columns=True, per_frame=1)
        assert np.array_equal(series.broken(), ~np.isfinite(values).all(0))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 3 minutes to 9, of which the ECoG alone would be 1.9 MB a minute."""
    monkeypatch.setattr(hdf5, "_refuse_unwritten", lambda *_: None)
    peaks = []
    for minutes in (3, 9):
        frames = minutes * 60 * 125
        path = tmp_path / f"{minutes}.h5"
        write_recording(path, recorded())
        with h5py.File(path, "r+") as file:
            for name in (ECOG, WAVE, SPECTROGRAM, PITCH, "formant_re_alldataset", "task_alldataset"):
                shape = file[name].shape
                del file[name]
                if name != "task_alldataset":
                    long = (shape[0] // FRAMES * frames, *((64,) if name == ECOG else shape[1:]))
                    # never written: they read as the fill value and take no place on the disk
                    file.create_dataset(name, long, "f4", chunks=(512, *long[1:]), fillvalue=-0.5)
        tracemalloc.start()
        read_trial(path, 3)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert abs(peaks[1] - peaks[0]) < 2**17, peaks
    assert max(peaks) < 2**22, peaks


def test_electrodes_that_break_outside_of_the_trial_are_listed(tmp_path: Path) -> None:
    path = written(tmp_path / "S1.h5", {ECOG: with_nan(3, 11, frame=10)})
    for read in (read_recording, lambda path, **options: read_trial(path, 2, **options)):
        with pytest.raises(
            InputError,
            match=r"S1\.h5: ecog: got NaN or infinite values in electrodes 3, 11, expected numbers; silence "
            r"them with --bad 3,11, in training with --set 'bad=\[3,11\]'",
        ):
            read(path)
        with pytest.raises(InputError, match="in electrode 11, expected"):
            read(path, bad=(3,))
        assert not read(path, bad=(3, 11)).ecog[:, [3, 11]].any()


def test_speech_is_checked_where_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "S1.h5", {WAVE: with_nan(0, frame=110 * HOP)})
    assert np.isfinite(read_trial(path, 2).wave).all()
    for read in (read_recording, lambda path: read_trial(path, 0)):
        with pytest.raises(InputError, match="wave_re_alldataset: got NaN or infinite values"):
            read(path)


def test_trials_outside_the_recording_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--trial: got 4, expected 0 … 3: S1 has no more"):
        read_trial(written(tmp_path / "S1.h5"), 4)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (ECOG, None, "S1.h5: datasets: got no ecog_alldataset; there are"),
        (NOISE, None, "got no noisesample_re_alldataset"),
        (WAVE, np.zeros((10, 1)), "wave_re_alldataset: got 0.078125 frames, expected 900"),
        (WAVE, np.zeros(450 * HOP), "got 450 frames, expected 900.*this looks like 8000 Hz"),
        (WAVE, np.zeros(900 * HOP + 5), r"got 900\.039 frames, expected 900"),
        (WAVE, np.zeros((450 * HOP, 2)), r"got shape \(57600, 2\), expected one value.*several channels"),
        (ECOG, np.zeros((900, 15)), "ecog: got 15 electrodes, expected a square"),
        (ECOG, np.zeros((900, 110)), "coarse takes the first 64, extended takes the first 100"),
        (ECOG, np.zeros((3686, 16)), "got 3686 frames, expected 900.*this looks like 511.94 Hz"),
        (ECOG, np.zeros((16, 900)), "ecog_alldataset: got 16 × 900, expected 900 × 16.*transposed: MATLAB"),
        (ECOG, np.zeros((900, 16), complex), "ecog_alldataset: got complex numbers, expected real numbers"),
        (ECOG, np.full((900, 16), b"x"), r"got values of type \|S1, expected real numbers"),
        (ECOG, np.full((900, 16), 1e3), "ecog: got values up to 1000, expected z-scores.*volts or µV"),
        (SPECTROGRAM, np.zeros((BINS, 900)), "got 128 × 900, expected 900 × 128.*transposed"),
        (NOISE, np.zeros(9), "got 9 values, expected 128, one for each bin"),
        (NOISE, np.full(BINS, -1.0), "noisesample_re_alldataset: got -1, expected power"),
        (NOISE, np.full(BINS, np.nan), "noisesample_re_alldataset: got NaN"),
        (SPECTROGRAM, np.full((900, BINS), 20.0), "values of 20 … 20, expected dB scaled"),
        (SPECTROGRAM, np.full((900, BINS), 1e-3), "values of 0.001 … 0.001, expected dB scaled"),
        (ENDS_NAME, np.array([190, 410, 606, 9000]), "trial 3: got frames 700 … 9000"),
        (ENDS_NAME, np.array([190]), "got 1 offsets and 4 onsets"),
        (STARTS_NAME, np.array([0.96, 2.64, 4.32, 5.6]), "got 0.96, expected whole numbers.*multiply by 125"),
        (LABELS, np.array([b"one"]), "label_alldataset: got 1 entries, expected 4"),
        (LABELS, np.zeros(0, "S3"), "label_alldataset: got 0 entries, expected 4"),
        (ECOG, np.zeros(900), r"ecog_alldataset: got shape \(900,\)"),
        (ECOG, h5py.Empty("f4"), "ecog_alldataset: got a group, or a dataset without values"),
    ],
)
def test_what_is_wrong_is_said_of_whole_and_part(
    tmp_path: Path, name: str, value: Any, sentence: str
) -> None:
    path = written(tmp_path / "S1.h5", {name: value})
    with pytest.raises(InputError, match=sentence):
        read_recording(path)
    if "volts" not in sentence:  # the pipeline checks the scale of what it decodes
        with pytest.raises(InputError, match=sentence):
            read_trial(path, 0)


def test_one_electrode_of_another_scale_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "S1.h5", {ECOG: lambda x: x * np.where(np.arange(16) == 5, 1e3, 1)})
    with pytest.raises(InputError, match=r"in electrodes 5, expected z-scores.*silence them with --bad 5"):
        read_recording(path)
    read_recording(path, bad=(5,))


@pytest.mark.parametrize("ecog", [lambda x: 1e-5 * x, lambda x: 4 + np.abs(x)])
def test_amplitudes_are_doubted(tmp_path: Path, ecog: Any) -> None:
    path = written(tmp_path / "S1.h5", {ECOG: ecog})
    with pytest.warns(EdgeWarning, match="expected z-scores around 0.*an amplitude, in volts or µV"):
        read_recording(path)


def test_groups_and_references_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "S1.h5", {LABELS: None})
    with h5py.File(path, "r+") as file:
        file[LABELS] = np.array([file.ref] * 4, h5py.ref_dtype)
    with pytest.raises(InputError, match=r"label_alldataset: got References, expected texts.*cells of"):
        read_trial(path, 0)
    with h5py.File(path, "r+") as file:
        del file[LABELS]
        file.create_group(LABELS)
    with pytest.raises(InputError, match="label_alldataset: got a group"):
        read_trial(path, 0)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match=r"text\.h5: file: got bytes that are not HDF5"):
        read_recording(tmp_path / "text.h5")
    with pytest.raises(InputError, match=r"absent\.h5: file: got no such file"):
        read_trial(tmp_path / "absent.h5", 0)
    whole = written(tmp_path / "S1.h5").read_bytes()
    (tmp_path / "part.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"part\.h5: file: got HDF5 that cannot be opened.*truncated"):
        read_trial(tmp_path / "part.h5", 0)


def test_damaged_values_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "S1.h5", {ECOG: lambda x: x}, chunks=(FRAMES, 16), compression="gzip")
    with h5py.File(path, "r") as file:
        place = file[ECOG].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 64] = bytes(64)
    path.write_bytes(content)
    for read in (read_recording, lambda path: read_trial(path, 0)):
        with pytest.raises(InputError, match="ecog_alldataset: got values that cannot be read"):
            read(path)
