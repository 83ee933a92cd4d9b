"""OUT.partial: continued where it is ours, refused where it is not, and one call at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.training.mri_speech.mri_clips import write_clips

from edge_runtime.errors import TargetError
from edge_runtime.store.targets import locked_folder
from edge_training.mri_speech import partial as mri_partial
from edge_training.mri_speech.partial import FORMAT, Plan, belongs, is_prepared, partial_folder
from edge_training.mri_speech.preparation import Preparation, prepare

PLAN = Plan({"size": 16}, {"a": [1, 2, 3, 4], "b": [5, 6, 7, 8]})


def left_by(plan: Plan, place: Path) -> Path:
    """The folder as a killed call leaves it, both clips done and the end begun."""
    for clip in ("a", "b"):
        (place / "samples" / clip).mkdir(parents=True)
        (place / "samples" / clip / "mri.npy").write_text(clip)
        (place / "wavs").mkdir(exist_ok=True)
        (place / "wavs" / f"{clip}.wav").write_text(clip)
    (place / "mels_gt_log").mkdir()
    (place / "scaler.json").write_text("{}")
    (place / "samples" / ".edge-export-00000000-c").mkdir()
    (place / "plan.json").write_text(json.dumps(plan.to_json()))
    return place


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "thesis.tex").write_text("…")
    return tmp_path / "victim"


def test_what_is_still_right_is_kept(tmp_path: Path) -> None:
    place = left_by(PLAN, tmp_path / "d.partial")
    both = ["plan.json", "samples/a/mri.npy", "samples/b/mri.npy", "wavs/a.wav", "wavs/b.wav"]
    with partial_folder(place, PLAN) as held:
        assert files(held) == both
    with partial_folder(place, Plan(PLAN.settings, {"a": [1, 2, 3, 4], "b": [5, 6, 7, 9]})):
        assert files(place) == ["plan.json", "samples/a/mri.npy", "wavs/a.wav"]
    with partial_folder(place, Plan({"size": 32}, PLAN.clips)):
        assert files(place) == ["plan.json"]


def test_a_call_killed_before_its_plan_is_continued(tmp_path: Path) -> None:
    (tmp_path / "d.partial" / ".edge-export-00000000-plan.json" / "new").mkdir(parents=True)
    with partial_folder(tmp_path / "d.partial", PLAN) as place:
        assert not list(place.iterdir())


@pytest.mark.parametrize(
    "plan",
    [
        {"settings": {}, "clips": {"VICTIM": [1]}},
        {"format": FORMAT, "settings": {}, "clips": {"VICTIM": [1]}},
        {"format": FORMAT, "settings": {}, "clips": {"../victim": [1]}},
        {"format": FORMAT, "settings": {}, "clips": {"..": [1]}},
        {"format": FORMAT, "settings": {}, "clips": []},
        {"format": FORMAT, "settings": [], "clips": {}},
        {"settings": {}, "clips": []},
        {"a": 1},
        [],
        "text",
    ],
)
def test_no_plan_leads_out_of_the_folder_or_makes_it_ours(plan: Any, victim: Path, tmp_path: Path) -> None:
    write_clips(tmp_path, (12,))
    place = tmp_path / "d.partial"
    place.mkdir()
    (place / "letter.txt").write_text("mine")
    (place / "plan.json").write_text(json.dumps(plan).replace("VICTIM", str(victim)))
    with pytest.raises(TargetError, match=r"d\.partial: got a folder of something else"):
        prepare(tmp_path / "videos", tmp_path / "wavs", tmp_path / "d", Preparation(size=16), workers=1)
    assert (victim / "thesis.tex").exists()
    assert files(place) == ["letter.txt", "plan.json"]
    assert not (tmp_path / "d").exists()


def test_one_foreign_file_beside_a_plan_of_ours_is_not_deleted(tmp_path: Path) -> None:
    place = left_by(PLAN, tmp_path / "d.partial")
    (place / "samples" / "a" / "notes.txt").write_text("mine")
    with pytest.raises(TargetError, match="something else"), partial_folder(place, Plan({}, {})):
        pass
    assert (place / "samples" / "a" / "notes.txt").exists()


@pytest.mark.parametrize("link", ["d.partial", "d.partial/samples", "d.partial/samples/a"])
def test_links_are_not_followed(link: str, victim: Path, tmp_path: Path) -> None:
    place = left_by(PLAN, tmp_path / "d.partial")
    shutil.rmtree(tmp_path / link)
    os.symlink(victim, tmp_path / link)
    with pytest.raises(TargetError, match=r"d\.partial"), partial_folder(place, Plan({}, {})):
        pass
    assert (victim / "thesis.tex").exists()


def test_one_call_at_a_time(tmp_path: Path) -> None:
    write_clips(tmp_path, (12,))
    with (
        locked_folder(tmp_path / "d.partial"),
        pytest.raises(TargetError, match=r"d\.partial: got a folder that another process is using"),
    ):
        prepare(tmp_path / "videos", tmp_path / "wavs", tmp_path / "d", Preparation(size=16), workers=1)
    done = prepare(tmp_path / "videos", tmp_path / "wavs", tmp_path / "d", Preparation(size=16), workers=1)
    assert done.clips == ("c0",)


HELD = """
import sys
from edge_runtime.store.targets import locked_folder
with locked_folder(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELD, str(tmp_path / "d")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TargetError, match="another process"), locked_folder(tmp_path / "d"):
            pass
        other.kill()
        other.wait()
    with locked_folder(tmp_path / "d"):
        pass


def test_only_results_are_overwritten(tmp_path: Path) -> None:
    write_clips(tmp_path, (12,))
    out = prepare(
        tmp_path / "videos", tmp_path / "wavs", tmp_path / "d", Preparation(size=16), workers=1
    ).folder
    assert is_prepared(out)
    for foreign in ("thesis.tex", "samples/c0/notes.txt", "samples/c9/mri.npy", "mels_gt_log/mine.npy"):
        (out / foreign).parent.mkdir(exist_ok=True)
        (out / foreign).write_text("…")
        assert not is_prepared(out), foreign
        (out / foreign).unlink()
    assert is_prepared(out)


def test_files_of_either_layout_belong() -> None:
    for name in (
        "pairs_ref4/a.npz",
        "pairs_ref4_npy/a/mel.npy",
        "mels_ft_log_normalized/a.npy",
        "scaler.json",
    ):
        assert belongs(name, {"a"}), name
        assert not belongs(name, {"b"}) or name == "scaler.json"
    for name in ("pairs_ref/a.npz", "pairs/a.npz", "pairs_ref4/a/mel.npy", "a/b/c/d", "samples/a"):
        assert not belongs(name, {"a"}), name
    assert mri_partial.read_plan(Path("/nowhere")) is None
