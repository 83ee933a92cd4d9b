"""Raw recordings: what agrees is read, whatever wrote it; what does not is said."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import BackendError, ConfigError, EdgeWarning, InputError
from edge_training.ecog_speech.preparation import EcogPreparation, prepare_ecog, prepared
from edge_training.ecog_speech.raw_recording import checked, read_entries

SECONDS, RATE = 4, 512
NAMES = [f"G{number}" for number in range(1, 17)]
DRAW = np.random.default_rng(1)
REST: dict[str, Any] = {
    "audio": (0.1 * DRAW.standard_normal(16000 * SECONDS)).astype(np.float32), "audio_rate": 16000,
    "onsets": np.array([1.5]), "offsets": np.array([2.0]), "labels": np.array(["one"]),
}  # fmt: skip
ENVELOPE = 6 + np.abs(DRAW.standard_normal((RATE * SECONDS, 16)))  # µV
BROADBAND = 40 * DRAW.standard_normal((RATE * SECONDS, 16))
QUIET = EcogPreparation(praat=False)


def entries(**changes: Any) -> dict[str, Any]:
    return REST | {"envelope": ENVELOPE} | changes


def test_trials_that_are_bad_are_left_out() -> None:
    three = {name: np.repeat(REST[name], 3) for name in ("onsets", "offsets", "labels")}
    raw = checked(entries(**three | {"labels": np.array(["a", "b", "c"]), "events": np.array([0, 4, 3])}))
    assert raw.labels == ("a", "c")
    assert raw.tasks == ()
    assert len(raw.onsets) == len(raw.stimuli) == 2


def test_sound_of_16_bits_and_of_odd_rates_is_scaled() -> None:
    sound = np.round(REST["audio"] * 32768).astype(np.int16)
    raw = checked(entries(audio=sound[:, None], audio_rate=np.array([16000.0])))
    assert np.abs(raw.audio - REST["audio"]).max() < 1 / 32768
    odd = 25e6 / 1024  # of a common amplifier, not whole
    with pytest.warns(EdgeWarning, match="expected about 4.0 s"):
        assert checked(entries(audio_rate=odd)).audio_rate == Fraction(390625, 16)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"envelope": ENVELOPE.T}, r"envelope: got shape \(16, 2048\).*transposed: pass envelope\.T"),
        ({"envelope": ENVELOPE[:, 0]}, r"envelope: got shape \(2048,\), expected \(samples, electrodes\)"),
        ({"envelope": ENVELOPE * 1j}, "envelope: got complex numbers, expected real numbers"),
        ({"envelope": ENVELOPE - 7}, r"got \d+% of the values below 0.*broadband signal"),
        ({"ecog_rate": 512.5}, "ecog_rate: got 512.5 Hz, expected 512 Hz of an envelope"),
        ({"ecog_rate": np.nan}, r"ecog_rate: got \[nan\], expected one rate"),
        ({"audio_rate": "fast"}, "audio_rate: got <U4 of shape"),
        ({"audio_rate": 0}, "audio_rate: got .0., expected one rate in Hz"),
        ({"audio": np.stack([REST["audio"]] * 2, 1)}, r"audio: got shape \(64000, 2\).*audio\[:, 0\]"),
        ({"audio": REST["audio"] * 32768}, "audio: got values up to .*divide by 32768"),
        ({"audio": REST["audio"] * np.nan}, "audio: got NaN or infinite values"),
        ({"audio": np.zeros(64000)}, "audio: got silence alone"),
        ({"audio": np.full(64000, 128, np.uint8)}, "audio: got uint8, expected floats"),
        ({"events": np.array([0, 1])}, "events: got 2, expected 1, one for each onset"),
        ({"events": np.array([2])}, "events: got bad trials alone"),
        ({"onsets": np.array([np.nan])}, "onsets: got NaN"),
        ({"onsets": np.array(["soon"])}, "onsets: got <U4 of shape"),
        ({"onsets": np.array([2.5])}, "ends before it begins: trial 0, 2.5 … 2 s"),
    ],
)
def test_what_disagrees_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        checked(entries(**changes))


def test_broadband_needs_a_rate() -> None:
    with pytest.raises(InputError, match="ecog_rate: got none, expected the rate of `broadband`"):
        checked(REST | {"broadband": BROADBAND})


def test_sound_of_another_length_is_doubted() -> None:
    with pytest.warns(EdgeWarning, match=r"audio: got 8\.0 s, expected about 4\.0 s"):
        checked(entries(audio_rate=8000))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"envelope": 1000 * ENVELOPE}, r"envelope: got high gamma of .* µV \(electrodes 0, 1.*nanovolts"),
        ({"envelope": np.ones((2048, 16))}, "envelope: got one value alone in electrodes 0,1"),
        ({"envelope": np.ones((2048, 15))}, "ecog: got 15 electrodes, expected a square"),
        ({"offsets": np.array([250.0])}, r"ends at 250\.00 s, expected at most 4\.00 s"),
    ],
)
def test_what_cannot_be_prepared_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepared("S", entries(**changes), QUIET)


def test_a_flat_electrode_can_be_silenced() -> None:
    flat = np.where(np.arange(16) == 3, 5, ENVELOPE)
    with pytest.raises(InputError, match=r"one value alone in electrodes 3, .*silence them with --bad 3"):
        prepared("S", entries(envelope=flat), QUIET)
    assert not prepared("S", entries(envelope=flat), EcogPreparation(praat=False, bad=(3,))).ecog[:, 3].any()


def test_hdf5_holds_the_same_and_is_refused_where_it_is_none(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        for name, value in entries(labels=np.array([b"one"])).items():
            file[name] = value
    read = read_entries(tmp_path / "raw.h5")
    assert np.array_equal(prepared("S", read, QUIET).ecog, prepared("S", entries(), QUIET).ecog)
    with pytest.raises(ConfigError, match=r"--out: got .*S1, expected a file's name that ends in \.h5"):
        prepare_ecog(tmp_path / "raw.h5", tmp_path / "S1", QUIET)
    with h5py.File(tmp_path / "raw.h5", "r+") as file:
        file["video"] = h5py.ExternalLink("other.h5", "/video")  # is no business of ours
        file["tasks"] = h5py.SoftLink("/nowhere")
    with pytest.raises(InputError, match=r"raw\.h5: tasks: got a link that leads nowhere"):
        read_entries(tmp_path / "raw.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match=r"text\.h5: got «.*damaged, truncated, of another format"):
        read_entries(tmp_path / "text.h5")


def test_envelope_is_for_files_that_name_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "raw.npz", **entries())
    with pytest.raises(ConfigError, match=r"--envelope: got a \.npz file"):
        read_entries(tmp_path / "raw.npz", envelope=True)


def test_without_mne_edf_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw.edf").write_bytes(b"0")
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(BackendError, match=r"reading \.edf: got no module named mne.*pip install mne"):
        read_entries(tmp_path / "raw.edf")


# ---- with the libraries -----------------------------------------------------------------------------------


def write_edf(path: Path, signal: np.ndarray, names: list[str] = NAMES, **options: Any) -> Path:
    edfio = pytest.importorskip("edfio")
    pytest.importorskip("mne")
    signals = [
        edfio.EdfSignal(column, RATE, label=name, physical_dimension=options.get("unit", "uV"))
        for name, column in zip(names, signal.T.astype(np.float64), strict=True)
    ]
    edfio.Edf(signals).write(path)
    np.savez(path.with_suffix(".npz"), **REST | options.get("beside", {}))
    return path


def write_vhdr(path: Path, signal: np.ndarray) -> Path:
    pybv = pytest.importorskip("pybv")
    pytest.importorskip("mne")
    pybv.write_brainvision(
        data=signal.T * 1e-6, sfreq=RATE, ch_names=NAMES, fname_base=path.stem, folder_out=str(path.parent),
        unit="µV",
    )  # fmt: skip
    np.savez(path.with_suffix(".npz"), **REST)
    return path


@pytest.mark.parametrize("kind", ["broadband", "envelope"])
def test_edf_and_brainvision_come_to_what_arrays_do(tmp_path: Path, kind: str) -> None:
    signal = {"broadband": BROADBAND, "envelope": ENVELOPE}[kind]
    wanted = prepared("S", REST | {kind: signal, "ecog_rate": RATE}, QUIET)
    preparation = EcogPreparation(praat=False, envelope=kind == "envelope")
    # 16 bits of EDF; float32 of BrainVision
    for path, tolerance in (
        (write_edf(tmp_path / "a.edf", signal), 2e-3),
        (write_vhdr(tmp_path / "b.vhdr", signal), 5e-5),
    ):
        made = prepare_ecog(path, tmp_path / "S.h5", preparation)
        assert made.ecog.shape == wanted.ecog.shape
        assert np.abs(made.ecog - wanted.ecog).max() < tolerance, path.suffix
        assert np.array_equal(made.spectrogram, wanted.spectrogram)
        assert (made.labels, made.starts.tolist()) == (wanted.labels, wanted.starts.tolist())


def test_electrodes_are_chosen_by_name(tmp_path: Path) -> None:
    more = np.concatenate([BROADBAND[:, ::-1], np.ones((len(BROADBAND), 1))], axis=1)
    path = write_edf(tmp_path / "a.edf", more, [*NAMES[::-1], "DC1"])
    with pytest.raises(InputError, match="ecog: got 17 electrodes, expected a square"):
        prepare_ecog(path, tmp_path / "S.h5", QUIET)
    write_edf(path, more, [*NAMES[::-1], "DC1"], beside={"channels": np.array(NAMES)})
    wanted = prepared("S", REST | {"broadband": BROADBAND, "ecog_rate": RATE}, QUIET)
    assert np.abs(prepare_ecog(path, tmp_path / "S.h5", QUIET).ecog - wanted.ecog).max() < 2e-3
    write_edf(path, more, [*NAMES[::-1], "DC1"], beside={"channels": np.array(["G1", "X9"])})
    with pytest.raises(InputError, match=r"a\.npz: channels: got X9, expected names of a\.edf's, as G16"):
        prepare_ecog(path, tmp_path / "S.h5", QUIET)


def test_what_is_wrong_with_edf_is_said(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", BROADBAND)
    with pytest.raises(InputError, match=r"a\.edf: envelope: got \d+% of the values below 0"):
        prepare_ecog(path, tmp_path / "S.h5", EcogPreparation(praat=False, envelope=True))
    write_edf(path, ENVELOPE)
    with pytest.raises(InputError, match=r"broadband: got hardly a value below 0.*of EDF: --envelope"):
        prepare_ecog(path, tmp_path / "S.h5", QUIET)
    write_edf(path, BROADBAND, unit="V")
    with pytest.raises(InputError, match=r"broadband: got high gamma of .* µV.*convert to µV"):
        prepare_ecog(path, tmp_path / "S.h5", QUIET)
    write_edf(path, BROADBAND, beside={"envelope": ENVELOPE})
    with pytest.raises(InputError, match=r"a\.npz: got envelope, expected none: a\.edf has it"):
        prepare_ecog(path, tmp_path / "S.h5", QUIET)
    (tmp_path / "a.npz").unlink()
    with pytest.raises(InputError, match=r"got no audio.*put them into a\.npz beside it"):
        prepare_ecog(path, tmp_path / "S.h5", QUIET)
    path.write_bytes(b"0")
    with pytest.raises(InputError, match=r"a\.edf: got «.*expected a recording that mne reads"):
        prepare_ecog(path, tmp_path / "S.h5", QUIET)
    lonely = write_vhdr(tmp_path / "b.vhdr", BROADBAND)
    lonely.with_suffix(".eeg").unlink()
    with pytest.raises(InputError, match=r"b\.vhdr: got «.*a file that belongs to it is missing"):
        prepare_ecog(lonely, tmp_path / "S.h5", QUIET)
    assert not (tmp_path / "S.h5").exists()


def test_a_truncated_edf_is_doubted(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", BROADBAND)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 16 * 2 * RATE])  # the last second
    with pytest.warns(EdgeWarning, match=r"a\.edf: got «Number of records.*expected no warnings from mne"):
        read_entries(path)
