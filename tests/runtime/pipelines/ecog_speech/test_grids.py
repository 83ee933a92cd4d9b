"""Which electrode lies where, and what fits no grid."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.ecog_speech.grids import arrange, check_density, hybrid_places, to_hybrid


def test_hybrid_electrodes_have_128_cells_of_their_own() -> None:
    places = hybrid_places()
    assert len(set(places.tolist())) == 128
    assert places.min() == 0
    # electrode 9 is the second of the second coarse row; 67 the first between, in row 1; 127 alone in row 11
    assert [places[9], places[67], places[127]] == [2 * 15 + 2, 15, 11 * 15 + 7]


def test_hybrid_grid_holds_zeros_between() -> None:
    ecog = np.arange(1, 129, dtype=np.float32)[None]
    grid = to_hybrid(ecog)
    assert grid.shape == (1, 225)
    assert grid.astype(bool).sum() == 128
    square = grid.reshape(15, 15)
    assert np.array_equal(to_hybrid(ecog, 3).reshape(15, 15), np.rot90(square, 3))


def test_electrodes_are_chosen() -> None:
    ecog = np.arange(128, dtype=np.float32)[None]
    assert arrange(ecog).shape == (1, 225)
    assert np.array_equal(arrange(ecog, coarse=True), ecog[:, :64])
    assert arrange(ecog, extended=True).shape == (1, 100)
    assert arrange(ecog[:, :64]).shape == (1, 64)


def test_bad_electrodes_are_named_and_silenced() -> None:
    ecog = np.ones((5, 16), np.float32)
    ecog[2, [3, 11]] = np.nan
    with pytest.raises(InputError, match=r"infinite values in electrodes 3, 11.*--bad 3,11"):
        arrange(ecog)
    assert arrange(ecog, bad=(3, 11)).sum() == 5 * 14
    assert np.isnan(ecog).sum() == 2


@pytest.mark.parametrize(
    ("electrodes", "options", "sentence"),
    [
        (60, {}, "got 60 electrodes, expected a square such as 64 or 225"),
        (49, {"coarse": True}, "got 49 electrodes, expected at least 64"),
        (16, {"bad": (16,)}, "bad: got 16, expected numbers from 0 to 15"),
        (128, {"coarse": True, "extended": True}, "grid: got coarse and extended, expected one of them"),
    ],
)
def test_what_fits_no_grid_is_refused(electrodes: int, options: dict[str, object], sentence: str) -> None:
    with pytest.raises((InputError, ConfigError), match=sentence):
        arrange(np.zeros((3, electrodes), np.float32), **options)  # type: ignore[arg-type]


def test_densities_have_names() -> None:
    assert check_density("HB") == "HB"
    with pytest.raises(ConfigError, match="density: got 'HD', expected LD or HB"):
        check_density("HD")
