"""Tests of a pack for apps: what lies in their folders, and when they are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_bundles

from edge_export.ports.pack_tests import SCHEMA, is_pack_test, replace_pack_test
from edge_export.proof.reference import write_reference
from edge_runtime.errors import ConfigError, TargetError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    vocoder = small_bundles.write_vocoder(folder / "bundle")
    np.save(folder / "mel.npy", np.full((5, 8), -3, np.float32))
    write_reference(
        "vocoder",
        folder / "mel.npy",
        [vocoder],
        folder / "pack",
        swift=folder / "Swift",
        kotlin=folder / "Kotlin",
    )
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(("name", "place"), [("Swift", "Pack"), ("Kotlin", "resources/Pack")])
def test_both_hold_the_pack_and_its_schema(made: Path, name: str, place: str) -> None:
    assert files(made / name / place) == files(made / "pack")
    assert json.loads((made / name / "pack.schema.json").read_text()) == SCHEMA
    assert is_pack_test(made / name, name.lower())


def test_sources_name_what_is_there(made: Path) -> None:
    swift = (made / "Swift/PackTests.swift").read_text()
    assert "import Testing" in swift
    assert "@Suite struct PackTests {" in swift
    kotlin = (made / "Kotlin/PackTest.kt").read_text()
    assert "was not compiled there" in kotlin
    assert "worst <= 0.001" in kotlin
    for text in (swift, kotlin):
        assert "Reference arrays for the vocoder" in text
        assert '"mel.npy"' in text
        assert not re.search(r"\{\w+\}\}|\{\{", text.replace('"${{', ""))


def required(schema: dict[str, Any], value: Any) -> None:
    """The part of JSON schema that ours uses."""
    kind = schema["type"]
    if kind == "object":
        assert isinstance(value, dict)
        assert set(schema.get("required", ())) <= set(value)
        for name, entry in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if inner:
                required(inner, entry)
    elif kind == "array":
        assert isinstance(value, list)
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        for item in value:
            required(schema["items"], item)
    elif kind == "string":
        assert isinstance(value, str)
        assert re.search(schema.get("pattern", ""), value)
    else:
        assert isinstance(value, int if kind == "integer" else int | float)
        assert value >= schema.get("minimum", value)


def test_the_schema_takes_what_packs_hold(made: Path) -> None:
    instructions = json.loads((made / "pack/VALIDATION_INSTRUCTIONS.json").read_text())
    required(SCHEMA, instructions)
    with pytest.raises(AssertionError):
        required(SCHEMA, instructions | {"title": "Notes"})


def test_targets_are_refused_before_the_work(made: Path, tmp_path: Path) -> None:
    def again(**options: Any) -> None:
        write_reference("vocoder", made / "mel.npy", [made / "bundle"], tmp_path / "pack", **options)

    mine = tmp_path / "Mine"
    mine.mkdir()
    (mine / "App.swift").write_text("let mine = 1")
    with pytest.raises(TargetError, match="Mine: got a folder with files that edge-export did not write"):
        again(swift=mine, overwrite=True)
    assert files(mine) == {"App.swift": b"let mine = 1"}
    assert not (tmp_path / "pack").exists()
    again(swift=tmp_path / "Tests")
    with pytest.raises(TargetError, match="Tests: got an existing folder"):
        write_reference(
            "vocoder", made / "mel.npy", [made / "bundle"], tmp_path / "other", swift=tmp_path / "Tests"
        )
    assert not (tmp_path / "other").exists()
    again(swift=tmp_path / "Tests", overwrite=True)
    with (
        pytest.raises(ConfigError, match="language: got 'go', expected swift or kotlin"),
        replace_pack_test(tmp_path / "Go", "go", False),
    ):
        pass
