"""No name leads out of its folder; a folder with one foreign file is not ours."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_runtime.errors import InputError
from edge_runtime.store.ownership import holds_only, is_plain, path_inside, plain_name


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
        if kind is PureWindowsPath and ":" in name:
            continue  # refused there
        assert (kind("folder") / name).parent == kind("folder")
        assert (kind("folder") / f"{name}.npy").parent == kind("folder")
    assert not set(name) & set("/\\|\0\n\x1b")


def test_usual_names_are_plain() -> None:
    for name in ("c0", "s00_000", "Über uns", "a.b", "日本", "-x", ".hidden", "sub1_vcv1_r1", "x" * 200):
        assert plain_name(name, "meta.json") == name


@pytest.mark.parametrize(
    "name",
    ["/abs/victim", "../up", "..", ".", "", "a/b", "a\\b", "a\0b", "a\nb", "a\x1b[31m", "x" * 201, "\udcff",
     ".edge-export-12345678-x", "a|b", 3, None, ["a"]],
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
    for name in ("/abs", "../up", "a/../../b", "a//b", "a/", ""):
        with pytest.raises(InputError, match=r"train\.txt: got the name"):
            path_inside(folder, name, "train.txt")
