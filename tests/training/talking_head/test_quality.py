"""Figures of synchrony on features whose answers are known."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.training.talking_head.sync_clips import write_talkers
from tests.training.talking_head.sync_run import fit_sync

from edge_runtime.errors import CheckpointError, ConfigError, InputError
from edge_training.engine.trainer import TrainResult
from edge_training.talking_head.quality import (
    REACH,
    WINDOWS,
    Embedded,
    embed,
    evaluate,
    judge,
    load_towers,
    main,
    offsets,
    recordings,
    same_clip,
)


def features(windows: int, seed: int) -> NDArray[np.float32]:
    values = np.abs(np.random.default_rng(seed).standard_normal((windows, 32))).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def aligned(windows: int, seed: int = 0, late: int = 0) -> Embedded:
    """Face and audio features that agree, the audio `late` windows behind."""
    both = features(windows + abs(late), seed)
    face, audio = both[max(0, late) :], both[max(0, -late) :]
    return Embedded(f"clip{seed}", np.arange(windows), face[:windows], audio[:windows])


# ---- two-way ----------------------------------------------------------------------------------------------


def test_perfect_towers_are_always_right() -> None:
    quality = judge([aligned(30, 0), aligned(40, 1)])
    assert (quality.same, quality.other, quality.two_way) == (1.0, 1.0, 1.0)
    assert (quality.recordings, quality.windows) == (2, 70)


def test_constant_towers_are_right_half_the_time() -> None:
    same = np.ones((20, 8), np.float32) / np.float32(math.sqrt(8))
    constant = Embedded("a", np.arange(20), same, same)
    quality = judge([constant, constant])
    assert (quality.same, quality.other) == (0.5, 0.5)


def test_two_way_counts_every_wrong_window() -> None:
    clips = [
        Embedded("a", np.array([0, 1, 2, 5, 9, 30]), features(6, 0), features(6, 1)),
        Embedded("b", np.arange(3), features(3, 2), features(3, 3)),  # none 5 pictures apart
    ]
    same, other = [], []
    for index, clip in enumerate(clips):
        foreign = clips[1 - index]
        for i, start in enumerate(clip.starts):
            own = clip.face[i] @ clip.audio[i]
            wrong = [j for j, place in enumerate(clip.starts) if abs(place - start) >= 5]
            if wrong:
                same.append(np.mean([own > clip.face[i] @ clip.audio[j] for j in wrong]))
            other.append(np.mean([own > clip.face[i] @ row for row in foreign.audio]))
    quality = judge(clips)
    assert quality.same == pytest.approx(np.mean(same))
    assert quality.other == pytest.approx(np.mean(other))
    assert quality.two_way == pytest.approx((np.mean(same) + np.mean(other)) / 2)
    assert math.isnan(quality.within_1)
    assert len(same_clip(clips[1])) == 0


# ---- offsets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [-15, -2, 0, 1, 15])
def test_the_offset_is_found(late: int) -> None:
    assert set(offsets(aligned(80, late=late))) == {late}


def test_figures_of_offsets() -> None:
    quality = judge([aligned(70, 0), aligned(70, 1, late=1), aligned(70, 2, late=-2), aligned(20, 3)])
    assert (quality.clips, quality.exact, quality.within_1) == (12, 1 / 3, 2 / 3)


@pytest.mark.parametrize(
    ("windows", "clips"),
    [(WINDOWS + 2 * REACH - 1, 0), (WINDOWS + 2 * REACH, 1), (WINDOWS + 2 * REACH + 5, 2)],
)
def test_clips_have_all_candidates(windows: int, clips: int) -> None:
    assert len(offsets(aligned(windows))) == clips


def test_clips_with_missing_pictures_are_left_out() -> None:
    whole = aligned(60)
    gap = Embedded("gap", whole.starts + (whole.starts >= 51), whole.face, whole.audio)
    assert len(offsets(whole)) == 2
    assert len(offsets(gap)) == 1


@pytest.mark.parametrize(
    ("clips", "sentence"),
    [
        ([aligned(20)], "recordings: got 1, expected at least 2"),
        ([aligned(4)] * 2, "no two windows 5 pictures apart"),
    ],
)
def test_too_little_to_judge(clips: list[Embedded], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        judge(clips)


# ---- runs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talkers(tmp_path_factory.mktemp("talkers"), 4, pictures=14)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return fit_sync(data, tmp_path_factory.mktemp("runs") / "run", steps=2)


def test_the_command_prints_the_functions_figures(
    run: TrainResult,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "figures.json"
    monkeypatch.setattr(
        sys, "argv", ["sync_quality", "--run", str(run.run), "--data", str(data), "--json", str(out)]
    )
    main()
    quality = evaluate(*load_towers(run.run), recordings(data))
    assert json.loads(out.read_text())["two_way"] == quality.two_way
    assert f"two_way     {quality.two_way:10.4f}" in capsys.readouterr().out
    assert (quality.recordings, quality.clips) == (4, 0)


def test_the_exported_encoder_is_the_runs(run: TrainResult, data: Path) -> None:
    item = next(iter(recordings(data, "val")))
    ours = embed(*load_towers(run.run, best=False), item)
    theirs = embed(*load_towers(run.run, best=False, encoder=run.weights), item)
    np.testing.assert_array_equal(ours.audio, theirs.audio)
    np.testing.assert_allclose(np.linalg.norm(ours.face, axis=1), 1, atol=1e-5)


def test_which_recordings(data: Path) -> None:
    assert [item["name"] for item in recordings(data, "train")] == ["clip00", "clip01", "clip02"]
    assert [item["name"] for item in recordings(data, "val")] == ["clip03"]


def test_runs_that_cannot_be_judged(run: TrainResult, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"net": "hifigan", "config": {}}')
    with pytest.raises(ConfigError, match="got a run of 'hifigan', expected a run of 'audio-encoder'"):
        load_towers(tmp_path)
    (tmp_path / "config.json").write_bytes((run.run / "config.json").read_bytes())
    with pytest.raises(InputError, match="no checkpoint"):
        load_towers(tmp_path)
    with pytest.raises(CheckpointError):
        load_towers(run.run, encoder=run.run / "config.json")
