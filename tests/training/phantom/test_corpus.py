"""The corpus as the systems' readers will meet it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import BackendError, ConfigError, TargetError
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines.ecog_speech.subject_file import read_recording
from edge_runtime.store.targets import sha256_tree
from edge_training.phantom import SYSTEMS, Speaker, speak, write_corpus
from edge_training.phantom.corpus import _is_corpus

SEED, COUNT = 21, 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for library in ("cv2", "h5py"):
        pytest.importorskip(library, reason="the layouts on disk need opencv and h5py")
    return write_corpus(tmp_path_factory.mktemp("phantom") / "corpus", COUNT, SEED)


def test_everything_lies_where_its_reader_looks(corpus: Path) -> None:
    assert sorted(entry.name for entry in corpus.iterdir()) == ["corpus.json", *sorted(SYSTEMS)]
    stems = [f"{i:03d}" for i in range(COUNT)]
    assert sorted(p.name for p in (corpus / "mri/normalized_videos").iterdir()) == [f"{s}.mp4" for s in stems]
    assert sorted(p.name for p in (corpus / "mri/audio_wav").iterdir()) == [f"{s}.wav" for s in stems]
    assert sorted(p.name for p in (corpus / "wavs/wavs").iterdir()) == [f"{s}.wav" for s in stems]
    assert sorted(p.name for p in (corpus / "ecog").iterdir()) == [
        "AllSubjectInfo.json", "P00.h5", "train_param_production.json",
    ]  # fmt: skip


def test_mri_videos_and_sounds_agree(corpus: Path) -> None:
    cv2: Any = importlib.import_module("cv2")
    for index in range(COUNT):
        audio = read_audio(corpus / f"mri/audio_wav/{index:03d}.wav")
        assert audio.sample_rate == 11413
        video = cv2.VideoCapture(str(corpus / f"mri/normalized_videos/{index:03d}.mp4"))
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(11413 / 420, rel=1e-4)
        frames = []
        while (read := video.read())[0]:
            frames.append(read[1])
        assert len(frames) == len(audio.samples) // 420
        expected = speak(Speaker.sample(SEED), SEED, index).midsagittal(frames=len(frames))
        error = np.stack(frames)[..., 0].astype(float) - expected
        assert np.sqrt(np.mean(error**2)) < 12.0  # MPEG-4 smooths the scanner's noise
        assert abs(error.mean()) < 1.0


def test_sync_videos_hold_a_picture_per_frame(corpus: Path) -> None:
    cv2: Any = importlib.import_module("cv2")
    lists = [(corpus / f"sync/filelists/{n}.txt").read_text().splitlines() for n in ("train", "val")]
    assert [len(lines) for lines in lists] == [COUNT - 1, 1]
    names = lists[0] + lists[1]
    assert sorted(names) == sorted(p.name for p in (corpus / "sync/videos").iterdir())
    assert len({name.split("_")[0] for name in names}) == COUNT  # as many speakers as there may be
    for name in names:
        folder = corpus / "sync/videos" / name
        audio = read_audio(folder / "audio.wav")
        pictures = sorted(folder.glob("*.jpg"), key=lambda p: int(p.stem))
        assert audio.sample_rate == 16000
        assert [int(p.stem) for p in pictures] == list(range(len(audio.samples) // 640))
        speaker, index = int(name[1:3]), int(name[4:])
        expected = speak(Speaker.sample(SEED, speaker), SEED, index).face()
        for k in (0, len(pictures) // 2):
            error = cv2.imread(str(pictures[k]))[..., ::-1].astype(float) - expected[k]
            assert np.abs(error).mean() < 4.0


def test_ecog_files_have_the_readers_datasets(corpus: Path) -> None:
    h5py: Any = importlib.import_module("h5py")
    with h5py.File(corpus / "ecog/P00.h5") as file:
        data = {name: file[name][()] for name in file}
    frames = len(data["ecog_alldataset"])
    assert data["ecog_alldataset"].shape == (frames, 64)
    assert data["wave_re_alldataset"].shape == (frames * 128, 1)
    for name in ("wave_re_spec_alldataset", "wave_re_spec_amp_alldataset"):
        assert data[name].shape == (frames, 512)  # a man
    assert data["noisesample_re_alldataset"].shape == (512,)
    assert data["formant_re_alldataset"].shape == (frames, 6)
    assert data["pitch_re_alldataset"].shape == data["intensity_re_alldataset"].shape == (frames,)
    starts, ends = data["start_ind_re_valid_alldataset"], data["end_ind_re_valid_alldataset"]
    assert len(starts) == len(ends) == len(data["label_alldataset"]) == COUNT
    assert starts[0] >= 100
    assert frames - ends[-1] >= 400
    assert (starts[1:] - ends[:-1] >= 200).all()
    assert ((ends - starts > 20) & (ends - starts < 120)).all()
    words = [label.decode() for label in data["label_alldataset"]]
    assert len(set(words)) == COUNT
    spectrogram, power = data["wave_re_spec_alldataset"], data["wave_re_spec_amp_alldataset"]
    assert spectrogram.min() == -1.0
    assert (spectrogram == 1.0).mean() < 0.01
    again = np.clip((10 * np.log10(np.maximum(power, 1e-10)) + 50) / 72.5 * 2 - 1, -1, 1)
    np.testing.assert_allclose(spectrogram, again, atol=1e-4)
    for start, end in zip(starts, ends, strict=True):
        assert (data["pitch_re_alldataset"][start:end] > 0).mean() > 0.4
        loud = data["intensity_re_alldataset"]
        assert loud[start:end].max() > loud[start - 60 : start - 10].max() + 25
    parameters = json.loads((corpus / "ecog/train_param_production.json").read_text())
    assert parameters["Subj"]["P00"]["TestNum"] == [1]


def test_plain_wavs_have_their_lists_and_labels(corpus: Path) -> None:
    lines = (corpus / "wavs/metadata.csv").read_text().splitlines()
    training = (corpus / "wavs/training.txt").read_text().splitlines()
    validation = (corpus / "wavs/validation.txt").read_text().splitlines()
    assert training + validation == lines
    for line in lines:
        stem, text, _ = line.split("|")
        audio = read_audio(corpus / f"wavs/wavs/{stem}.wav")
        labels = json.loads((corpus / f"wavs/labels/{stem}.json").read_text())
        assert audio.sample_rate == 22050
        assert labels["text"] == text == " ".join(word for _, _, word in labels["words"])
        assert labels["duration"] == pytest.approx(audio.seconds, abs=1e-3)
        assert len(labels["f0"]) == len(labels["formants"]) == round(audio.seconds * labels["rate"])
        assert [len(frame) for frame in labels["formants"]] == [6] * len(labels["f0"])


def test_one_speaker_says_the_same_in_every_system(corpus: Path) -> None:
    mri, sync, wavs = (
        json.loads((corpus / f"{place}.json").read_text())
        for place in ("mri/labels/000", "sync/labels/s00_000", "wavs/labels/000")
    )
    assert mri == sync == wavs


def test_the_same_seed_writes_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    again = write_corpus(tmp_path / "again", COUNT, SEED)
    assert sha256_tree(again) == sha256_tree(corpus)
    alone = write_corpus(tmp_path / "alone", COUNT, SEED, systems=["wavs"])
    assert sha256_tree(alone / "wavs") == sha256_tree(corpus / "wavs")
    other = write_corpus(tmp_path / "other", COUNT, SEED + 1, systems=["wavs"])
    assert sha256_tree(other / "wavs") != sha256_tree(corpus / "wavs")


def test_several_speakers_take_turns(tmp_path: Path) -> None:
    out = write_corpus(tmp_path / "c", 4, 0, systems=["wavs"], speakers=2)
    names = [json.loads((out / f"wavs/labels/{i:03d}.json").read_text())["speaker"] for i in range(4)]
    assert names == ["s00", "s01", "s00", "s01"]


def test_progress_names_every_utterance(tmp_path: Path) -> None:
    said: list[str] = []
    write_corpus(tmp_path / "c", 2, 0, systems=["wavs"], progress=said.append)
    assert [line.split(":")[0] for line in said] == ["wavs 1/2", "wavs 2/2"]


def test_only_a_corpus_is_overwritten(tmp_path: Path) -> None:
    out = write_corpus(tmp_path / "c", 2, 0, systems=["wavs"])
    with pytest.raises(TargetError, match="an existing folder"):
        write_corpus(out, 2, 1, systems=["wavs"])
    write_corpus(out, 2, 1, systems=["wavs"], overwrite=True)
    assert json.loads((out / "corpus.json").read_text())["seed"] == 1
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/love.txt").write_text("mine")
    with pytest.raises(TargetError, match="did not write"):
        write_corpus(tmp_path / "letters", 2, 1, systems=["wavs"], overwrite=True)
    for foreign in ("thesis.tex", "wavs/wavs/song.wav", "mri/audio_wav/000.wav"):
        (out / foreign).parent.mkdir(parents=True, exist_ok=True)
        (out / foreign).write_text("mine")
        with pytest.raises(TargetError, match="did not write"):
            write_corpus(out, 2, 1, systems=["wavs"], overwrite=True)
        (out / foreign).unlink()
    write_corpus(out, 2, 1, systems=["wavs"], overwrite=True)


def test_a_whole_corpus_is_recognised(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="utterances"):
        write_corpus(corpus, 0, 1, overwrite=True)
    assert _is_corpus(corpus)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"systems": []}, r"systems: got none, expected some of mri, sync, ecog, wavs"),
        ({"systems": ["mri", "eeg"]}, r"systems: got 'eeg', expected some of"),
        ({"utterances": 0}, r"utterances: got 0, expected at least 4 for mri, sync, ecog, wavs"),
        ({"utterances": 1, "systems": ["wavs"]}, r"utterances: got 1, expected at least 2 for wavs"),
        ({"speakers": 0}, r"speakers: got 0, expected at least 1"),
        ({"seed": -3}, r"seed: got -3, expected a whole number"),
    ],
)
def test_options_that_make_no_corpus_are_refused(
    options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        write_corpus(tmp_path / "c", **({"utterances": 4, "seed": 0} | options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("module", "system"), [("cv2", "sync"), ("h5py", "ecog")])
def test_a_missing_library_is_named_before_anything_is_written(
    module: str, system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendError, match=rf"no module named {module}, .*pip install"):
        write_corpus(tmp_path / "c", 4, 0, systems=[system])
    assert list(tmp_path.iterdir()) == []


def test_without_opencv_the_mri_videos_are_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    out = write_corpus(tmp_path / "c", 1, SEED, systems=["mri"])
    video = np.load(out / "mri/normalized_videos/000.npy")
    np.testing.assert_array_equal(video, speak(Speaker.sample(SEED), SEED, 0).midsagittal(frames=len(video)))


def test_ecog_files_are_read_and_hybrid_grids_arranged(tmp_path: Path) -> None:
    write_corpus(tmp_path / "hb", 4, 5, systems=["ecog"], speakers=2, density="HB")
    men, women = (read_recording(tmp_path / "hb" / "ecog" / f"P0{index}.h5") for index in range(2))
    assert men.ecog.shape[1] == women.ecog.shape[1] == 225
    assert (men.bins, men.female, women.bins, women.female) == (512, False, 256, True)
    assert {men.phones[frame] for frame in range(men.starts[0], men.ends[0])} - {"sil"}
    assert men.tasks == ("VisRead", "VisRead")
