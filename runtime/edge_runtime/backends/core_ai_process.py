"""The process in which Core AI runs; `edge_runtime.backends.core_ai` starts it and explains why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.backends.base import Array, load_library
from edge_runtime.backends.worker import Run, serve
from edge_runtime.errors import BackendError


def opened(arguments: Sequence[str]) -> tuple[str, Run]:
    """The asset that the arguments name, compiled; without one only the library."""
    authoring = load_library("coreai", "coreai.authoring", "coreai")
    runtime: Any = import_module("coreai.runtime")
    detail = f"Core AI, coreai-core {_version()}, CPU"
    if not arguments:
        return detail, dict
    (path,) = arguments
    with asyncio.Runner() as runner:
        functions = runner.run(_functions(authoring, runtime, Path(path)))

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        function = _fitting(path, functions, inputs)
        return asyncio.run(_called(runtime, function, inputs))

    return detail, run


async def _functions(authoring: Any, runtime: Any, path: Path) -> list[Any]:
    """The asset's functions, one for each set of shapes."""
    options = runtime.SpecializationOptions
    wanted = options.cpu_only() if options.is_supported() else None
    async with authoring.AIModelAsset.load(path).executable(wanted) as model:
        return [model.load_function(name) for name in model.function_names]


async def _called(runtime: Any, function: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    given = {name: runtime.NDArray(np.ascontiguousarray(array)) for name, array in inputs.items()}
    results = await function(given)
    return {name: np.asarray(value.numpy()) for name, value in results.items()}


def _fitting(path: str, functions: Sequence[Any], inputs: Mapping[str, Array]) -> Any:
    """The function that takes these names and shapes."""
    shapes = {name: tuple(array.shape) for name, array in inputs.items()}
    admitted = [
        {name: tuple(function.desc.input_descriptor(name).shape) for name in function.desc.input_names}
        for function in functions
    ]
    for function, taken in zip(functions, admitted, strict=True):
        if taken == shapes:
            return function
    raise BackendError(
        f"{path}: running with coreai",
        got=_listed(shapes),
        expected=" or ".join(map(_listed, admitted)),
        cause="the shapes of an .aimodel are fixed at export (--target coreai --frames N …)",
    )


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _version() -> str:
    try:
        return version("coreai-core")
    except PackageNotFoundError:
        return "of unknown version"


if __name__ == "__main__":
    serve(opened)
