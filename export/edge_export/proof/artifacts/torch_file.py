"""Programs that PyTorch saved: TorchScript archives and ExportedPrograms. Both run what the file says.

Neither can be opened safely, whatever wrote it, so both are refused unless the user trusts the file:

* TorchScript is a program: loading runs ``__setstate__`` of its modules, and its operators read and write
  files (``aten::save``, ``aten::from_file``).
* `torch.export.load` unpickles weights, constants and sample inputs with ``weights_only=False``, or falls
  back to that; symbolic sizes go through ``sympy.sympify``, which evaluates them as Python; libraries that
  the archive holds are loaded (AOTInductor).

What a file is is told from the names in its archive, without reading any entry.
"""

from __future__ import annotations

import inspect
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_export.proof.artifacts.base import Array, Kind, Operation, Port, Value, Watch, plain
from edge_runtime.errors import BackendError, CheckpointError, InputError
from edge_runtime.store.reading import open_regular

Saved = Literal["torchscript", "exported-program", "weights", ""]


def recognise(path: Path) -> Saved:
    """What PyTorch saved in an archive; "" for other files."""
    with open_regular(path, "a model file") as file:
        if file.read(4) != b"PK\x03\x04":
            return ""
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise CheckpointError(
                str(path), got=f"a damaged archive («{error}»)", expected="a model that PyTorch saved"
            ) from error
    parts = {name.split("/", 1)[-1] for name in names}
    if "serialized_exported_program.json" in names or any(part.startswith("models/") for part in parts):
        return "exported-program"
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        return "torchscript"
    return "weights" if "data.pkl" in parts else ""


def open_saved(path: Path, what: str, saved: Saved, *, trust: bool) -> TorchArtifact:
    """Load a program of PyTorch; CheckpointError unless it is trusted, or where it is none."""
    if saved == "weights":
        raise CheckpointError(
            what,
            got="weights without a program",
            expected="something that runs",
            cause="export them (edge-export export), or name a function that uses them: module:function",
        )
    if not trust:
        words = {
            "torchscript": (
                "TorchScript, a program that may read and write files",
                "its ONNX or Core ML export",
            ),
            "exported-program": ("an ExportedProgram, whose loading runs pickled code", "its ONNX export"),
        }
        got, instead = words[saved]
        raise CheckpointError(
            what,
            got=got,
            expected=f"{instead}, or --trust for a file of your own",
            cause="PyTorch has no safe way to open it",
        )
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit announces its end
        try:
            if saved == "torchscript":
                return ScriptArtifact(torch.jit.load(str(path), map_location="cpu").eval(), what)  # type: ignore[no-untyped-call]
            return ExportedArtifact(torch.export.load(str(path)), what)
        except Exception as error:  # a damaged archive fails in many ways
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise CheckpointError(
                what, got=f"«{said[0][:200]}»", expected="a file that PyTorch loads"
            ) from error


class TorchArtifact:
    """A module that takes and gives tensors."""

    kind: Kind
    states: tuple[Port, ...] = ()

    def __init__(self, module: Any, what: str, inputs: Sequence[Port], outputs: Sequence[Port] = ()) -> None:
        self.what = what
        self.module = module
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    @property
    def detail(self) -> str:
        """What runs it."""
        import torch

        return f"torch {torch.__version__}, CPU, {self.kind}"

    @property
    def operations(self) -> tuple[Operation, ...]:
        """None that are known."""
        return ()

    def new_state(self) -> dict[str, Array]:
        """None."""
        return {}

    def run(self, inputs: Mapping[str, Any], state: dict[str, Array] | None = None) -> dict[str, Array]:
        """Arrays by name in and out; what the module returns without names is output_0, output_1, …"""
        del state
        import torch

        given = [torch.from_numpy(np.array(inputs[port.name])) for port in self.inputs if port.name in inputs]
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return named_outputs(self.module(*given), self.outputs)
            except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
                raise failed(self.what, error) from error

    def watch(self, inputs: Mapping[str, Any], seen: Watch, state: dict[str, Array] | None = None) -> None:
        """Refused unless the module's graph is known."""
        del inputs, seen, state
        raise BackendError(self.what, got=self.kind, expected="an artifact whose inside can be watched")


class ScriptArtifact(TorchArtifact):
    """A TorchScript module."""

    kind = "torchscript"

    def __init__(self, module: Any, what: str) -> None:
        arguments = [a for a in module.forward.schema.arguments[1:] if not a.has_default_value()]
        super().__init__(module, what, [Port(argument.name) for argument in arguments])

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Of the graph with all modules inlined, with the lines of Python that they were traced from."""
        found = []
        for node in self.module.inlined_graph.nodes():
            outputs = tuple(_script_value(value) for value in node.outputs())
            if node.kind() in ("prim::Constant", "prim::GetAttr") or not outputs:
                continue
            inputs = {str(i): (_script_value(value),) for i, value in enumerate(node.inputs())}
            line = node.sourceRange().strip().splitlines()
            where = next((text.strip() for text in reversed(line) if "File" in text or ".py" in text), "")
            found.append(Operation(outputs[0].name, node.kind(), inputs, outputs, source=where[:200]))
        return tuple(found)


class ExportedArtifact(TorchArtifact):
    """An ExportedProgram."""

    kind = "exported-program"

    def __init__(self, program: Any, what: str) -> None:
        self.program = program
        nodes = {node.name: node for node in program.graph.nodes}
        signature = program.graph_signature
        ports = [_exported_port(nodes[name]) for name in signature.user_inputs if isinstance(name, str)]
        outputs = [_exported_port(nodes[name]) for name in signature.user_outputs if isinstance(name, str)]
        super().__init__(program.module(), what, ports, outputs)

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """The nodes that call something, with the line of Python of each."""
        return tuple(_exported(node) for node in self.program.graph.nodes if node.op == "call_function")

    def watch(self, inputs: Mapping[str, Any], seen: Watch, state: dict[str, Array] | None = None) -> None:
        """Run node by node."""
        del state
        import torch

        listed = {operation.name: operation for operation in self.operations}

        class Shown(torch.fx.Interpreter):
            def run_node(self, n: Any) -> Any:
                result = super().run_node(n)
                if n.name in listed:
                    values = result if isinstance(result, (tuple, list)) else [result]
                    seen(listed[n.name], [plain(value) for value in values if hasattr(value, "detach")])
                return result

        given = [torch.from_numpy(np.array(inputs[port.name])) for port in self.inputs]
        with torch.inference_mode():
            try:
                Shown(self.program.module()).run(*given)
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                raise failed(self.what, error) from error


def failed(what: str, error: Exception) -> InputError:
    """What PyTorch, or a Python function, said when it ran."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [
        line for line in lines if "Traceback" not in line and not line.startswith(("File", "The following"))
    ]
    said = (told or [type(error).__name__])[-1 if "Traceback" in str(error) else 0]
    return InputError(what, got=f"«{said[:300]}» when it ran", expected="inputs that it takes")


def named_outputs(result: Any, ports: Sequence[Port] = ()) -> dict[str, Array]:
    """What a call returned, by name: a dictionary's own, those of the ports, or output_0, output_1, …"""
    if isinstance(result, Mapping):
        return {str(name): plain(value) for name, value in result.items() if value is not None}
    values = list(result) if isinstance(result, (tuple, list)) else [result]
    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, (tuple, list)) else [value])
    flat = [value for value in flat if value is not None]
    names = (
        [port.name for port in ports]
        if len(ports) == len(flat)
        else [f"output_{i}" for i in range(len(flat))]
    )
    return dict(zip(names, map(plain, flat), strict=True))


def parameters_of(function: Any) -> list[Port]:
    """The positional parameters of a function that have no default, as inputs."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = (parameter for parameter in parameters if parameter.default is inspect.Parameter.empty)
    return [Port(parameter.name) for parameter in needed if parameter.kind in kinds]


def _script_value(value: Any) -> Value:
    constant = value.toIValue() if value.node().kind() == "prim::Constant" else None
    kind = value.type()
    sizes = kind.sizes() if kind.kind() == "TensorType" else None
    return Value(value.debugName(), "", tuple(sizes) if sizes else None, constant)


def _exported_port(node: Any) -> Port:
    value = _exported_value(node)
    return Port(node.name, value.dtype, value.shape)


def _exported_value(node: Any) -> Value:
    value = node.meta.get("val")
    if value is None or not hasattr(value, "shape"):
        return Value(node.name)
    shape = tuple(axis if isinstance(axis, int) else str(axis) for axis in value.shape)
    return Value(node.name, str(value.dtype).removeprefix("torch."), shape)


def _exported(node: Any) -> Operation:
    arguments = {}
    for index, argument in enumerate(node.args):
        nested = argument if isinstance(argument, (tuple, list)) else [argument]
        arguments[str(index)] = tuple(
            _exported_value(item) if hasattr(item, "meta") else Value("", constant=item) for item in nested
        )
    lines = (node.meta.get("stack_trace") or "").strip().splitlines()
    where = next((line.strip() for line in reversed(lines) if line.strip().startswith("File")), "")
    return Operation(
        node.name,
        str(node.target),
        arguments,
        (_exported_value(node),),
        dict(node.kwargs),
        source=where[:200],
    )
