"""The runtime needs numpy and nothing else, and imports nothing heavy; what a package exports is there."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest

import edge_runtime
from edge_runtime.pipelines.registry import PIPELINES, get_system

SENTENCE = Path(__file__).parents[2] / "export" / "edge_export" / "assets" / "sentence.wav"
PACKAGES = ("edge_runtime", "edge_training", "edge_export")
HEAVY = {
    *(
        "scipy",
        "soundfile",
        "soxr",
        "onnx",
        "onnxruntime",
        "openvino",
        "coremltools",
        "torch",
        "cv2",
        "librosa",
    ),
    *("lightning", "typer", "edge_training", "edge_export"),
}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
before = set(sys.modules)
import edge_runtime
names = [module.name for module in pkgutil.walk_packages(edge_runtime.__path__, "edge_runtime.")]
for name in names:
    importlib.import_module(name)
loaded = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(json.dumps({"imported": names, "loaded": sorted(loaded)}))
"""

INVERT = f"""
import json, sys
before = set(sys.modules)
from edge_runtime import MelInversion, read_audio
speech = read_audio({str(SENTENCE)!r}).samples
pipeline = MelInversion(iterations=32)
result = pipeline.process(speech)
convergence = pipeline.measure(speech, result)["result"]["spectral_convergence_db"]
loaded = {{name.split(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)
shapes = [result.mel.T.shape, result.magnitude.shape, result.samples.shape]
answer = {{"loaded": sorted(loaded), "shapes": list(map(str, shapes)), "convergence": [str(convergence)]}}
print(json.dumps(answer))
"""


def numpys_files() -> Iterator[Path]:
    """Top-level entries of numpy's wheel: the package, its libraries, its metadata."""
    numpy = distribution("numpy")
    names = {file.parts[0] for file in numpy.files or () if file.parts[0] not in ("..", "bin")}
    for name in sorted(names):
        yield Path(str(numpy.locate_file(name)))


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that holds numpy and edge_runtime."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (packages,) = (home / "lib").glob("python*/site-packages")
    for entry in (*numpys_files(), Path(edge_runtime.__path__[0])):
        (packages / entry.name).symlink_to(entry)
    return home / "bin" / "python"


def answer(python: Path | str, program: str) -> dict[str, list[str]]:
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[str]] = json.loads(done.stdout)
    return answers


def test_the_bare_environment_is_bare(bare_python: Path) -> None:
    program = (
        "import importlib.util as u, json; print(json.dumps({'found': [n for n in %r if u.find_spec(n)]}))"
    )
    assert answer(bare_python, program % sorted(HEAVY | {"pip", "pytest"})) == {"found": []}


def test_every_module_and_pipeline_imports_with_numpy_alone(bare_python: Path) -> None:
    found = answer(bare_python, IMPORT_ALL)
    files = Path(edge_runtime.__path__[0]).rglob("*.py")
    assert len(found["imported"]) == len(list(files)) - 1, "every file but the package itself"
    assert set(found["loaded"]) == {"edge_runtime", "numpy"}


def test_a_mel_is_inverted_with_numpy_alone(bare_python: Path) -> None:
    found = answer(bare_python, INVERT)
    assert set(found["loaded"]) == {"edge_runtime", "numpy"}
    assert found["shapes"] == ["(188, 80)", "(513, 188)", "(47884,)"]
    assert float(found["convergence"][0]) < -10


def test_importing_the_runtime_loads_nothing_heavy_where_all_is_installed() -> None:
    program = """
import json, sys, edge_runtime
print(json.dumps({"loaded": sorted({name.split(".")[0] for name in sys.modules})}))
"""
    assert not HEAVY & set(answer(sys.executable, program)["loaded"])


@pytest.mark.parametrize("name", PACKAGES)
def test_exported_names_are_exactly_the_public_ones(name: str) -> None:
    """Lazy ones included: the table, ``__all__``, and what type checkers see are the same."""
    package = importlib.import_module(name)
    exported: list[str] = package.__all__
    homes: dict[str, str] = package._HOMES
    assert sorted(exported) == sorted(homes) == sorted(shown_to_type_checkers(package))
    for item in exported:
        module, _, inside = homes[item].partition(":")
        home = importlib.import_module(f"{name}.{module}")
        assert getattr(package, item) is getattr(home, inside or item)
    assert set(exported) <= set(dir(package))
    public = {
        item for item, value in vars(package).items() if item[0] != "_" and not is_machinery(item, value)
    }
    assert public <= set(exported), f"public in {name}, but not in its __all__"


@pytest.mark.parametrize("name", PACKAGES)
def test_no_name_is_that_of_a_module(name: str) -> None:
    """Importing the module would put it in the name's place."""
    package = importlib.import_module(name)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not set(package.__all__) & modules


def test_every_pipeline_is_public() -> None:
    public = [getattr(edge_runtime, item) for item in edge_runtime.__all__]
    hidden = [name for name in PIPELINES if not any(get_system(name).build is each for each in public)]
    assert not hidden


def shown_to_type_checkers(package: ModuleType) -> list[str]:
    """Names imported under ``if TYPE_CHECKING``."""
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return [
        alias.asname or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def is_machinery(name: str, value: object) -> bool:
    """A submodule, or what loading names lazily takes."""
    return inspect.ismodule(value) or name in {"annotations", "TYPE_CHECKING"}
