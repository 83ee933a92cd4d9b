"""The typed Swift wrapper of a bundle; `make test-swift` compiles and runs what this writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import small_bundles, swift_packs

from edge_export.ports.swift_wrapper import FIRST_LINE, type_name, wrapper, write_wrapper
from edge_runtime.errors import ConfigError, TargetError
from edge_runtime.store.bundle import Bundle, Tensor, open_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "vocoder"
    swift_packs.write_bundle(folder)
    return open_bundle(folder)


def test_names_shapes_units_and_ranges_are_said(bundle: Bundle) -> None:
    text = wrapper(bundle)
    inputs, outputs = bundle.reference("speech")
    mel, wav = inputs["mel"], outputs["wav"]
    assert "public struct HifiganNet: Sendable {" in text
    assert (
        f"///   - mel: (1, 5, frames), log mel (ln magnitude); {mel.min():.4g} to {mel.max():.4g} in" in text
    )
    assert f"/// (1, 1, samples), audio (full scale 1); {wav.min():.4g} to {wav.max():.4g} in the" in text
    assert "public let wav: NDArray<Float>" in text
    assert "callAsFunction(mel: NDArray<Float>) async throws -> Outputs {" in text
    assert 'return try Outputs(wav: answer("wav"))' in text
    assert "public static let hopLength = 4" in text
    assert max(map(len, text.splitlines())) <= 110


def test_names_become_swift_names(tmp_path: Path) -> None:
    takes = Tensor("in", "float32", ("batch", 1, 80, 16), "a\nb", "")
    gives = Tensor("log_magnitude-2.x", "float32", ("batch", 512), 'say "so" \\', "")
    folder = small_bundles.write_encoder(tmp_path / "bundle", inputs=(takes,), outputs=(gives,))
    text = wrapper(open_bundle(folder))
    assert "callAsFunction(`in`: NDArray<Float>)" in text
    assert 'let arrays = ["in": `in`]' in text
    assert "- in: (batch, 1, 80, 16), a b." in text
    assert "public let logMagnitude2X: NDArray<Float>" in text
    assert 'answer("log_magnitude-2.x")' in text
    assert type_name("mel-inversion") == "MelInversionNet"


def test_whole_numbers_are_refused(tmp_path: Path) -> None:
    takes = Tensor("tokens", "int64", ("batch", 1, 80, 16), "tokens", "")
    folder = small_bundles.write_encoder(tmp_path / "bundle", inputs=(takes,))
    with pytest.raises(
        ConfigError, match="--swift: got audio-encoder with tokens of int64, expected a net of"
    ):
        wrapper(open_bundle(folder))


def test_files_of_others_stay(bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "Net.swift"
    assert write_wrapper(bundle, place) == place
    text = place.read_text()
    assert text.startswith(FIRST_LINE)
    with pytest.raises(TargetError, match="an existing file"):
        write_wrapper(bundle, place)
    write_wrapper(bundle, place, overwrite=True)
    assert place.read_text() == text
    place.write_text("let mine = 1")
    with pytest.raises(TargetError, match="a file that edge-export did not write"):
        write_wrapper(bundle, place, overwrite=True)
    assert place.read_text() == "let mine = 1"
    with pytest.raises(ConfigError, match=r"--swift: got .*Net.txt, expected a file NAME\.swift"):
        write_wrapper(bundle, tmp_path / "Net.txt")


def test_ranges_span_all_cases(bundle: Bundle) -> None:
    values = np.concatenate([array.ravel() for array in bundle.reference("speech")[1].values()])
    assert f"{values.min():.4g} to {values.max():.4g} in the reference" in wrapper(bundle).replace(
        "\n        /// ", " "
    )
