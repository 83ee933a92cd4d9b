"""Bundles find their roles: by manifest, by name, and never by guess."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest
from tests import small_bundles

from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.pipelines.declaration import Declaration, Role
from edge_runtime.pipelines.roles import parse_bundles, sort_bundles
from edge_runtime.store.bundle import open_bundle

TWINS = Declaration(
    "image-speech",
    "Two of one net.",
    (Role("image_unet", ("hifigan",)), Role("audio_unet", ("hifigan",)), Role("text", ("audio-encoder",))),
)
OPTIONAL = Declaration(
    "x", "May do without.", (Role("bundle", ("hifigan", "istft-vocoder"), required=False),)
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    places = {name: small_bundles.write_vocoder(folder / name) for name in ("a", "b")}
    return places | {"text": small_bundles.write_encoder(folder / "text")}


def sorted_paths(declared: Declaration, given: object) -> dict[str, str]:
    found = sort_bundles(declared, given)  # type: ignore[arg-type]
    return {role: bundle.path.name for role, bundle in found.items()}


def test_twins_are_told_apart_by_role(places: dict[str, Path]) -> None:
    wanted = {"image_unet": "b", "audio_unet": "a", "text": "text"}
    given = [("audio_unet", places["a"]), places["text"], ("image_unet", places["b"])]
    assert sorted_paths(TWINS, given) == wanted
    assert sorted_paths(TWINS, {role: places[name] for role, name in wanted.items()}) == wanted


def test_what_a_role_may_lack_is_left_out(places: dict[str, Path]) -> None:
    assert sort_bundles(OPTIONAL, []) == {}
    assert sorted_paths(OPTIONAL, [open_bundle(places["a"])]) == {"bundle": "a"}


def test_a_bundle_that_fits_two_roles_is_no_guess(places: dict[str, Path]) -> None:
    with pytest.raises(
        ConfigError,
        match=r"--bundle: got .*/a without a role, expected image_unet=.*/a or audio_unet=.*/a; "
        "image-speech takes several bundles of the net hifigan",
    ):
        sort_bundles(TWINS, [places["a"], ("audio_unet", places["b"])])


def test_refusals_name_the_role(places: dict[str, Path]) -> None:
    everything = "expected one each of image_unet=hifigan, audio_unet=hifigan, audio-encoder"
    with pytest.raises(ConfigError, match=f"got two for audio_unet, {everything}"):
        sort_bundles(TWINS, [("audio_unet", places["a"]), ("audio_unet", places["b"])])
    with pytest.raises(
        ConfigError, match=f"got none for image_unet, {everything}; --bundle image_unet=DIR names it"
    ):
        sort_bundles(TWINS, [("audio_unet", places["a"]), places["text"]])
    with pytest.raises(BundleError, match="/text: net: got audio-encoder, expected hifigan for audio_unet"):
        sort_bundles(TWINS, [("audio_unet", places["text"])])
    with pytest.raises(ConfigError, match=r"--bundle: got unet=.*/a, expected DIR, or image_unet=DIR or aud"):
        sort_bundles(TWINS, [("unet", places["a"])])
    with pytest.raises(BundleError, match="net: got audio-encoder, expected hifigan or istft-vocoder"):
        sort_bundles(OPTIONAL, [places["text"]])


def test_roles_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "rate=3").mkdir()
    texts = ["some/folder", "image_unet=a=b", str(tmp_path / "rate=3")]
    assert parse_bundles(TWINS, texts) == ["some/folder", ("image_unet", "a=b"), str(tmp_path / "rate=3")]
    with pytest.raises(ConfigError, match="--bundle: got image-unet=a, expected DIR, or image_unet=DIR or"):
        parse_bundles(TWINS, ["image-unet=a"])
    for nothing in ("", "text="):
        with pytest.raises(ConfigError, match=f"--bundle: got '{nothing}', expected DIR, or image_unet=DIR"):
            parse_bundles(TWINS, [nothing])


def test_a_folder_may_bear_the_name_of_a_role() -> None:
    assert parse_bundles(TWINS, ["text", "audio_unet"]) == ["text", "audio_unet"]
    with pytest.raises(ConfigError, match=r"--bundle: got 'text=', expected DIR, or image_unet=DIR"):
        parse_bundles(TWINS, ["text="])


def test_paths_of_windows_on_the_command_line() -> None:
    texts = ["C:\\runs\\voc", "image_unet=C:\\runs\\a=b", "D:\\rate=3", ".\\x=y", "\\\\server\\share\\v"]
    expected = [texts[0], ("image_unet", "C:\\runs\\a=b"), *texts[2:]]
    assert parse_bundles(TWINS, texts) == expected
    assert PureWindowsPath(expected[1][1]).parts == ("C:\\", "runs", "a=b")


def test_a_folder_of_bundles_named_for_roles_is_taken_whole(places: dict[str, Path], tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    for role, name in (("image_unet", "a"), ("audio_unet", "b"), ("vae_encoder", "text")):
        (whole / role).symlink_to(places[name])
    found = sort_bundles(TWINS, [whole, places["text"]])
    assert {role: bundle.path for role, bundle in found.items()} == {
        "image_unet": whole / "image_unet",
        "audio_unet": whole / "audio_unet",
        "text": places["text"],
    }
    with pytest.raises(ConfigError, match="got two for image_unet"):
        sort_bundles(TWINS, [whole, ("image_unet", places["b"])])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"empty: got a folder without a bundle, .*: image_unet, audio_"):
        sort_bundles(TWINS, [tmp_path / "empty"])


def test_the_folder_of_a_nets_halves_stands_for_both(places: dict[str, Path], tmp_path: Path) -> None:
    unet = Role("unet", ("hifigan",), halves=(("first", "unet"), ("second", "unet_second")))
    roles = (unet, Role("unet_second", ("hifigan",), required=False), Role("text", ("audio-encoder",)))
    declared = Declaration("image-speech", "In two.", roles, made_by="edge-export export x")
    whole = tmp_path / "whole"
    for folder in (tmp_path / "halves", whole / "unet"):
        folder.mkdir(parents=True)
        (folder / "first").symlink_to(places["a"])
        (folder / "second").symlink_to(places["b"])
    wanted = {"unet": "first", "unet_second": "second", "text": "text"}
    assert sorted_paths(declared, [("unet", tmp_path / "halves"), places["text"]]) == wanted
    assert sorted_paths(declared, {"unet": tmp_path / "halves", "text": places["text"]}) == wanted
    assert sorted_paths(declared, [whole, places["text"]]) == wanted
    with pytest.raises(ConfigError, match=r"halves without a role, expected unet=.*halves; .*several halves"):
        sort_bundles(declared, [tmp_path / "halves", places["text"]])
    (tmp_path / "models").mkdir()
    with pytest.raises(BundleError, match=r"models: got a folder without a bundle, .*export x writes them"):
        sort_bundles(declared, [tmp_path / "models"])
