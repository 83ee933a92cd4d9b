"""The table of pipelines: what each declares is what its class and its writers take."""

from __future__ import annotations

import subprocess
import sys
from inspect import Parameter, signature
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines import registry
from edge_runtime.pipelines.declaration import EXECUTION
from edge_runtime.pipelines.registry import FOLDERS, PIPELINES, get_declaration, get_system


def test_every_folder_of_a_system_is_in_the_table() -> None:
    home = Path(registry.__file__).parent
    assert {path.parent.name for path in home.glob("*/options.py")} == set(FOLDERS)
    assert len(PIPELINES) == len(FOLDERS)


@pytest.mark.parametrize("name", PIPELINES)
def test_declared_options_are_the_arguments_of_the_class(name: str) -> None:
    declared, system = PIPELINES[name], get_system(name)
    assert system.declaration is declared
    parameters = dict(signature(system.build).parameters)
    for role in declared.roles:
        assert (parameters.pop(role.name).default is Parameter.empty) == role.required
    for argument in ("progress", *declared.inside, *declared.helpers):
        parameters.pop(argument, None)
    assert {option.name for option in declared.all_options} == set(parameters)
    defaults = {option.name: option.default for option in declared.all_options}
    assert defaults == {each: parameter.default for each, parameter in parameters.items()}
    for option in declared.all_options:
        assert option.default is None or type(option.default) is option.type or option.type is float


@pytest.mark.parametrize("name", PIPELINES)
def test_declared_inputs_are_the_arguments_of_the_writers(name: str) -> None:
    declared, system = PIPELINES[name], get_system(name)
    for writer in (system.result, system.pack):
        names = list(signature(writer).parameters)
        assert names == ["pipeline", "folder", *(each.name for each in declared.inputs)]


@pytest.mark.parametrize("name", PIPELINES)
def test_names_do_not_collide_on_the_command_line(name: str) -> None:
    declared = PIPELINES[name]
    names = [each.name for each in declared.inputs] + [each.name for each in declared.all_options]
    names += ["out", "bundle", "overwrite", "progress", "inside", "help", "debug"]
    assert len(names) == len(set(names))
    assert all(text.strip().endswith(".") for text in (declared.summary, declared.options[0].describe()))
    assert EXECUTION[0].name == "backend"


def test_unknown_pipelines_are_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ConfigError, match="PIPELINE: got 'talkinghead', expected one of talking-head, vocod"):
        get_declaration("talkinghead")
    with pytest.raises(ConfigError, match="PIPELINE: got 'x'"):
        get_system("x")


def test_the_declarations_load_without_numpy() -> None:
    code = "import sys, edge_runtime.pipelines.registry; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
