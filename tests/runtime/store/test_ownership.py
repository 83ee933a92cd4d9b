"""No name leads out of its folder; a folder with one foreign file is not ours."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_runtime.errors import InputError
from edge_runtime.store.ownership import (
    holds_only,
    is_plain,
    path_inside,
    plain_name,
    portable,
    windows_refusal,
)


@given(name=st.text(max_size=12))
@example(name="/abs/x")
@example(name="..")
@example(name="a/../../b")
@example(name="C:\\x")
@example(name="")
@example(name=".")
def test_a_plain_name_is_one_step_below_its_folder(name: str) -> None:
    if not is_plain(name):
        return
    for kind in (PurePosixPath, PureWindowsPath):
        assert (kind("folder") / name).parent == kind("folder")
        assert (kind("folder") / f"{name}.npy").parent == kind("folder")
    assert not set(name) & set("/\\|\0\n\x1b")


def test_usual_names_are_plain() -> None:
    for name in ("c0", "s00_000", "Über uns", "a.b", "日本", "-x", ".hidden", "sub1_vcv1_r1", "x" * 200):
        assert plain_name(name, "meta.json") == name


@pytest.mark.parametrize(
    "name",
    ["/abs/victim", "../up", "..", ".", "", "a/b", "a\\b", "a\0b", "a\nb", "a\x1b[31m", "x" * 201, "\udcff",
     ".edge-export-12345678-x", "a|b", 3, None, ["a"], "C:x", "con", "AUX.npy", "a?", "a.", "a "],
)  # fmt: skip
def test_what_is_no_plain_name_is_refused_and_shown_escaped(name: object) -> None:
    with pytest.raises(InputError, match=r"meta\.json: got the name .*expected a plain file name") as refused:
        plain_name(name, "meta.json")
    assert str(refused.value).isprintable()


def test_one_foreign_file_at_any_depth_is_enough(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "ours.npy").write_text("")
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "a" / ".edge-export-00000000-x").mkdir()
    (tmp_path / "a" / ".edge-export-00000000-x" / "half").write_text("")
    assert holds_only(tmp_path, {"a/b/ours.npy"}.__contains__)
    (tmp_path / "a" / "b" / "theirs.npy").write_text("")
    assert not holds_only(tmp_path, {"a/b/ours.npy"}.__contains__)


@pytest.mark.parametrize("to_a_folder", [True, False])
def test_links_are_never_ours(to_a_folder: bool, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "x").write_text("")
    (tmp_path / "ours").mkdir()
    target = tmp_path / "victim" if to_a_folder else tmp_path / "victim" / "x"
    os.symlink(target, tmp_path / "ours" / "link")
    assert not holds_only(tmp_path / "ours", {"link", "link/x"}.__contains__)


def test_names_of_lists_lead_into_folders_below_alone() -> None:
    folder = Path("data")
    assert path_inside(folder, "main/00001", "train.txt") == folder / "main" / "00001"
    # a list that Windows wrote
    assert path_inside(folder, "main\\00001", "train.txt") == folder / "main" / "00001"
    for name in (
        "C:\\x",
        "\\\\server\\share",
        "..\\up",
        "main\\con",
        "/abs",
        "../up",
        "a/../../b",
        "a//b",
        "a/",
        "",
    ):
        with pytest.raises(InputError, match=r"train\.txt: got the name"):
            path_inside(folder, name, "train.txt")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("take.wav", ""),
        ("console", ""),
        ("com10", ""),
        ("nul", "NUL is a device"),
        ("Com1.tar.gz", "COM1 is a device"),
        ("lpt³", "LPT³ is a device"),
        ("prn .wav", "PRN is a device"),
        ("12:30", "':' in a name"),
        ('a"b', "'\"' in a name"),
        ("end.", "a dot or space at the end"),
    ],
)
def test_what_windows_cannot_hold(name: str, reason: str) -> None:
    assert windows_refusal(name) == reason
    if reason and "/" not in name:
        with pytest.raises(InputError, match=r"Windows cannot hold it \(.*\): rename it"):
            plain_name(name, "meta.json")


@given(name=st.text(max_size=30))
@example(name="con.wav")
@example(name="aux ")
@example(name="x" * 300)
@example(name="\udcff")
def test_portable_names_are_plain(name: str) -> None:
    assert is_plain(portable(name))
    assert portable(portable(name)) == portable(name)
    if is_plain(name):
        assert portable(name) == name
