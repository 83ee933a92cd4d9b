"""scaler.json: read as it stands, or refused by its name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.store.scaler import read_scaler


def test_the_origins_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scaler.json"
    path.write_text(json.dumps({"mean": [-40, -30.5, 0], "std": [1, 2.5, 3], "count_frames": 1200}))
    mean, std = read_scaler(path, 3)
    np.testing.assert_array_equal(mean, [-40, -30.5, 0])
    np.testing.assert_array_equal(std, [1, 2.5, 3])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "got text that is not JSON .*, expected a scaler.json with mean and std"),
        ("[1]", "got a JSON list"),
        ("{}", "mean: got None, expected 3 numbers"),
        ('{"mean": 3, "std": 3}', "mean: got 3, expected 3 numbers"),
        ('{"mean": [1, 2, "a"], "std": [1, 1, 1]}', "mean: got .*, expected 3 numbers"),
        ('{"mean": [1, 2, NaN], "std": [1, 1, 1]}', "got .*NaN is no number"),
        (
            '{"mean": [1, 2], "std": [1, 1]}',
            "mean: got 2 numbers, expected 3, one a mel band of the net; this scaler.json belongs",
        ),
        ('{"mean": [1, 2, 3], "std": [1, 1, 1, 1]}', "std: got 4 numbers, expected 3, one a mel band"),
        ('{"mean": [1, 2, 3], "std": [1, 0, 1]}', "std: got 0, expected numbers above 0"),
    ],
)
def test_what_is_no_scaler_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "scaler.json"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"scaler\.json: {sentence}"):
        read_scaler(path, 3)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scaler\.json: got no such file, expected a scaler"):
        read_scaler(tmp_path / "scaler.json", 3)
