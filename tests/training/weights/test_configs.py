"""Configuration files: found beside the weights; JSON and YAML read, or refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.small_weights import TINY

from edge_runtime.errors import ConfigError
from edge_training.vocoder.hifigan import HifiGanConfig
from edge_training.weights.configs import find_config, parse_yaml, read_config


def test_config_beside_the_checkpoint(tmp_path: Path) -> None:
    assert find_config(tmp_path / "g_00000000") is None
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_json()))
    found = find_config(tmp_path / "g_00000000")
    assert found == tmp_path / "config.json"
    assert HifiGanConfig.from_json(read_config(found)) == TINY
    (tmp_path / "hifigan.json").write_text("{}")  # in a folder with weights of several nets
    assert find_config(tmp_path / "hifigan.safetensors") == tmp_path / "hifigan.json"
    assert find_config(tmp_path / "g_00000000") == tmp_path / "config.json"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"config.json: got text that is not JSON \(Expecting value"),
        (b"{,}", "got text that is not JSON"),
        (b"[1]", "got a JSON list, expected a JSON object"),
        (b"\xff\xfe\x00", "got text in UTF-16"),
        (b"[" * 100_000, "got brackets more than 64 levels deep"),
    ],
)
def test_bad_config_files(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read_config(tmp_path / "config.json")


def test_missing_config_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: got no such file, expected a JSON object"):
        read_config(tmp_path / "config.json")


YAML = """
sampling_rate: 24000
generator_params:
  upsample_scales: [5, 5, 4, 3]
  nonlinear_activation_params: {negative_slope: 1.0e-1}
shared: &shared {a: 1}
twice: [*shared, *shared]
pair: !!python/tuple [1, 2]
generator: !new:speechbrain.lobes.models.HifiGAN.HifiganGenerator
  in_channels: !ref <n_mels>
trap: !!python/object/apply:os.mkdir [proof]
"""


def test_yaml_is_plain_values_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yml").write_text(YAML)
    entries = read_config(tmp_path / "config.yml")
    assert entries["sampling_rate"] == 24000
    assert entries["generator_params"]["nonlinear_activation_params"] == {"negative_slope": 0.1}
    assert (entries["twice"], entries["pair"]) == ([{"a": 1}, {"a": 1}], [1, 2])
    assert entries["generator"]["!"] == "!new:speechbrain.lobes.models.HifiGAN.HifiganGenerator"
    assert entries["trap"] == ["proof"]
    assert [path.name for path in tmp_path.iterdir()] == ["config.yml"]


def bomb() -> str:
    """Each line ten times the one before."""
    lines = ["a0: &a0 [1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (bomb(), "too many or too deep"),
        ("[" * 80 + "]" * 80, "too many or too deep"),
        ("- 1", "got a YAML list"),
        ("a: [1", "text that is not YAML"),
        ("", "got a YAML NoneType"),
    ],
)
def test_bad_yaml(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"conf: .*{sentence}"):
        parse_yaml(text, "conf")


def test_merged_mappings_of_yaml() -> None:
    text = "base: &b {fmin: 0, fmax: 1}\nother: &o {fmax: 2, rate: 3}\n<<: [*b, *o]\nfmin: 9\n"
    entries = parse_yaml(text, "config.yml")
    assert (entries["fmin"], entries["fmax"], entries["rate"]) == (9, 1, 3)
