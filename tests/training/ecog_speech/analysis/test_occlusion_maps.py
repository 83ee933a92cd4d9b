"""The command's files: tables, maps of both grids, records, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.recorded_ecog import recorded
from tests.small_ecog import DECODER, ENCODER, SYNTHESIZER

from edge_runtime.errors import CheckpointError, ConfigError, EdgeError, InputError, TargetError
from edge_runtime.media.png import read_png
from edge_runtime.pipelines.ecog_speech.grids import hybrid_places
from edge_runtime.pipelines.ecog_speech.recordings import write_recording
from edge_training.ecog_speech.analysis import occlusion_maps
from edge_training.ecog_speech.analysis.occlusion import COMPONENTS, Occlusion, electrode_groups
from edge_training.ecog_speech.analysis.occlusion_maps import (
    draw_map,
    occlusion,
    parse_regions,
    write_occlusion,
)
from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoderConfig, build_decoder
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig
from edge_training.ecog_speech.speech_encoder import SpeechEncoder, SpeechEncoderConfig

NAMES = ("pcc", *COMPONENTS)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording S1.h5, a decoder, one of shuffled trials, and their pair."""
    folder = tmp_path_factory.mktemp("lab")
    write_recording(folder / "S1.h5", recorded())
    torch.manual_seed(0)
    config = EcogDecoderConfig.from_json(DECODER)
    for name in ("ecog-decoder", "shuffled"):
        torch.save(build_decoder(config).state_dict(), folder / f"{name}.pt")
        (folder / f"{name}.json").write_text(json.dumps(config.to_json()))
    encoder = SpeechEncoderConfig.from_json(ENCODER)
    synthesizer = FormantSynthesizerConfig.from_json(SYNTHESIZER)
    save_file(SpeechEncoder(encoder).state_dict(), folder / "speech-encoder.safetensors")
    save_file(FormantSynthesizer(synthesizer).state_dict(), folder / "formant-synthesizer.safetensors")
    (folder / "speech-encoder.json").write_text(json.dumps(encoder.to_json()))
    (folder / "formant-synthesizer.json").write_text(json.dumps(synthesizer.to_json()))
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None]]:
    """Takes the place of drawing, which is slow: name and noise level of each map."""
    maps: list[tuple[str, float | None]] = []

    def draw(path: Path, name: str, _: NDArray[np.float64], noise: float | None = None) -> None:
        maps.append((name, noise))
        path.write_bytes(b"")

    monkeypatch.setattr(occlusion_maps, "draw_map", draw)
    return maps


def test_a_lab_gets_tables_maps_and_a_record(
    lab: Path, tmp_path: Path, drawn: list[tuple[str, float | None]]
) -> None:
    out = occlusion(
        lab / "S1.h5", lab / "ecog-decoder.pt", tmp_path / "maps", regions=["front=0,1,2", "back = 12,13"],
        shuffled=[lab / "shuffled.pt"], changes={"test_trials": 2},
    )  # fmt: skip
    rows = list(csv.reader((out / "occlusion.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["group", "electrodes", *NAMES]
    assert [row[:2] for row in rows[1:]] == [["front", "0 1 2"], ["back", "12 13"], ["noise level", ""]]
    values = np.load(out / "loudness.npy")
    assert f"{values[0, 1]:.6g}" == rows[1][2 + NAMES.index("loudness")]
    assert np.isnan(values).sum() == 16 - 5
    record = json.loads((out / "occlusion.json").read_text())
    assert record["columns"]["f0_hz"]["unit"] == "Hz"
    assert f"{record['columns']['pcc']['noise_level']:.6g}" == rows[3][2]
    assert (record["trials"], record["shuffled"]) == (2, ["shuffled.pt"])
    levels = {name: column["noise_level"] for name, column in record["columns"].items()}
    assert dict(drawn) == levels
    assert {path.name for path in out.glob("*.png")} == {f"{name}.png" for name in NAMES}


@pytest.mark.usefixtures("drawn")
def test_an_earlier_result_alone_is_replaced(lab: Path, tmp_path: Path) -> None:
    given = (lab / "S1.h5", lab / "ecog-decoder.pt", tmp_path / "maps")
    options = {"regions": ["a=1"], "changes": {"test_trials": 1}}
    occlusion(*given, **options)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="got an existing folder"):
        occlusion(*given, **options)  # type: ignore[arg-type]
    told: list[str] = []
    occlusion(*given, every_trial=True, overwrite=True, progress=told.append, **options)  # type: ignore[arg-type]
    assert told[0] == "all 4 trials, those of the training too"
    assert json.loads((given[2] / "occlusion.json").read_text())["trials"] == 4
    (given[2] / "notes.txt").write_text("mine")
    with pytest.raises(TargetError, match="files that edge-export did not write"):
        occlusion(*given, overwrite=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"regions": ["a=1"], "patch": 2}, ConfigError, "--region: got --patch 2 beside it, expected one"),
        ({"regions": ["a"]}, ConfigError, "--region: got 'a', expected NAME=3,4,17"),
        ({"regions": ["a=1-3"]}, ConfigError, "--region: got 'a=1-3'"),
        ({"regions": ["a=1", "a=2"]}, ConfigError, "--region: got a twice"),
        ({"regions": ["a=3,16"]}, ConfigError, r"--region a: got 16, expected 0 … 15"),
        ({"patch": 5}, ConfigError, r"patch: got 5, expected 1 … 4"),
        (
            {"changes": {"learning_rate": 1}},
            ConfigError,
            "--set: got learning_rate, expected one of subjects",
        ),
        ({"changes": {"test_trials": 4}}, ConfigError, r"test_trials: got 4, expected 1 … 3"),
        ({"silence": "noise"}, ConfigError, "silence: got 'noise', expected zero or mean or other"),
        ({"data": "none.h5"}, InputError, "none.h5: got no .h5 files"),
        ({"teacher": "none"}, CheckpointError, "no such folder or file"),
        ({"shuffled": ["none.pt"]}, CheckpointError, "none.pt"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    options: dict[str, object], kind: type[EdgeError], sentence: str, lab: Path, tmp_path: Path
) -> None:
    given: dict[str, object] = {"data": lab / "S1.h5", "changes": {"test_trials": 1}} | options
    with pytest.raises(kind, match=sentence):
        occlusion(checkpoint=lab / "ecog-decoder.pt", out=tmp_path / "maps", **given)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_decoders_of_other_grids_and_without_a_pair_are_refused(lab: Path, tmp_path: Path) -> None:
    write_recording(tmp_path / "S2.h5", recorded("S2", electrodes=25))
    with pytest.raises(ConfigError, match=r"got a decoder of 16 electrodes, expected the 25 of the data"):
        occlusion(tmp_path / "S2.h5", lab / "ecog-decoder.pt", tmp_path / "maps", changes={"test_trials": 1})
    for name in ("ecog-decoder.pt", "ecog-decoder.json"):
        (tmp_path / name).write_bytes((lab / name).read_bytes())
    with pytest.raises(ConfigError, match=r"--teacher: got none, and no speech-encoder\.safetensors beside"):
        occlusion(lab / "S1.h5", tmp_path / "ecog-decoder.pt", tmp_path / "maps", changes={"test_trials": 1})


@pytest.mark.usefixtures("drawn")
def test_hybrid_grids_show_their_128_electrodes_by_the_recordings_numbers(tmp_path: Path) -> None:
    places = hybrid_places()
    assert parse_regions(["a=0,127,64"], 225) == {"a": (places[0], places[127], places[64])}
    groups = electrode_groups(225)
    one = np.arange(128, dtype=np.float64)[:, None]
    found = Occlusion(groups, {"pcc": one}, {"pcc": np.ones(1)}, 0.5, 225)
    folder = write_occlusion(tmp_path / "maps", found, noise={"pcc": 20.5})
    assert np.isfinite(np.load(folder / "pcc.npy")).sum() == 128
    rows = list(csv.reader((folder / "occlusion.csv").read_text(encoding="utf-8").splitlines()))
    assert sorted(int(row[1]) for row in rows[1:-1]) == list(range(128))
    assert {row[0]: row[1] for row in rows[1:-1]}["0-1"] == "64"


def test_cells_without_an_electrode_are_grey(tmp_path: Path) -> None:
    draw_map(tmp_path / "map.png", "pcc", np.array([[0.0, np.nan], [1.0, 0.5]]), 0.2)
    pixels = np.asarray(read_png(tmp_path / "map.png"))[..., :3]
    places = [np.argwhere((pixels == colour).all(2)) for colour in ([191, 191, 191], [68, 1, 84])]
    (row, column), (row_of_lowest, column_of_lowest) = (np.median(place, axis=0) for place in places)
    assert min(map(len, places)) > 10000  # pixels of a cell
    assert row == pytest.approx(row_of_lowest, abs=10)
    assert column > column_of_lowest + 100


@pytest.mark.usefixtures("drawn")
def test_recordings_of_128_electrodes_go_with_a_coarse_decoder(lab: Path, tmp_path: Path) -> None:
    """The refusal's advice works: 64 of a hybrid grid's 128."""
    write_recording(tmp_path / "S3.h5", recorded("S3", electrodes=128))
    config = replace(EcogDecoderConfig.from_json(DECODER), electrodes=64)
    torch.save(build_decoder(config).state_dict(), tmp_path / "coarse.pt")
    (tmp_path / "coarse.json").write_text(json.dumps(config.to_json()))
    given = (tmp_path / "S3.h5", tmp_path / "coarse.pt", tmp_path / "maps")
    options = {"teacher": lab, "regions": ["last=63"]}
    with pytest.raises(ConfigError, match="--set coarse=true takes the first 64"):
        occlusion(*given, changes={"test_trials": 1}, **options)  # type: ignore[arg-type]
    occlusion(*given, changes={"test_trials": 1, "coarse": True}, **options)  # type: ignore[arg-type]
    assert np.isfinite(np.load(given[2] / "f0_hz.npy")).sum() == 1
