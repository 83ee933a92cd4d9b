"""A system joins a class with its writers; `test_registry` checks those that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, TargetError
from edge_runtime.pipelines.declaration import Declaration, Input, Option
from edge_runtime.pipelines.pack_files import write_instructions
from edge_runtime.pipelines.system import System


class Shout:
    def __init__(self, marks: int = 1) -> None:
        self.marks = marks

    def say(self, text: str) -> str:
        return text.upper() + "!" * self.marks


def write_result(pipeline: Shout, folder: Path, first: str, second: str) -> dict[str, object]:
    (folder / "said.txt").write_text(pipeline.say(first) + pipeline.say(second))
    return {"marks": pipeline.marks}


def write_pack(pipeline: Shout, folder: Path, first: str, second: str) -> None:
    write_instructions(folder, "shouts", pipeline.say(first), [], {"second": second}, {}, {})


DECLARED = Declaration(
    "shout",
    "Two texts.",
    (),
    (Option("marks", int, "How loud", 1),),
    (Input("first", "A text.", str), Input("second", "Another.", str)),
)
SYSTEM = System(DECLARED, Shout, write_result, write_pack)


def test_an_open_pipeline_takes_its_inputs_by_name(tmp_path: Path) -> None:
    opened = SYSTEM.open({}, marks=2)
    assert opened.write_result(tmp_path, {"second": "b", "first": "a"}) == {"marks": 2}
    assert (tmp_path / "said.txt").read_text() == "A!!B!!"
    assert not SYSTEM.tells_progress


def test_a_pack_is_replaced_on_request_only(tmp_path: Path) -> None:
    out = SYSTEM.save_reference(Shout(), tmp_path / "pack", first="a", second="b")
    with pytest.raises(TargetError, match="pack: got an existing folder"):
        SYSTEM.save_reference(Shout(), out, first="a", second="b")
    SYSTEM.save_reference(Shout(3), out, overwrite=True, first="a", second="b")
    assert "A!!!" in (out / "VALIDATION_INSTRUCTIONS.json").read_text()
    with pytest.raises(ConfigError, match="inputs of shout: got first, expected first, second"):
        SYSTEM.save_reference(Shout(), tmp_path / "other", first="a")
    assert not (tmp_path / "other").exists()
