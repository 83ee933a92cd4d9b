"""Which module of a net each operation of a converted program was traced in.

The converter keeps, for every operation, the names and classes of the modules around it, without the lists
that hold them: ("0", "1") of ("ResBlock1", "Conv1d") may be resblocks.0.convs1.1 or resblocks.0.convs2.1. The
name of a weight that the operation reads decides; where there is none, what the candidates have in common.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from coremltools.converters.mil.mil.scope import ScopeSource
from torch import nn

_NAME, _TYPE = ScopeSource.TORCHSCRIPT_MODULE_NAME, ScopeSource.TORCHSCRIPT_MODULE_TYPE
Key = tuple[tuple[str, ...], tuple[str, ...]]  # names and classes of the modules around an operation
WRAPPER = "module."  # what `exporter.InterfaceTypes` puts before the net's own paths


def traced_modules(program: Any, module: nn.Module) -> dict[str, str]:
    """Result of each operation → path of its module, as "resblocks.0.convs1.1"; "" for the net itself.

    Args:
        program: the converter's, of the MIL classes of coremltools.
        module: what was traced.
    """
    candidates = _candidates(module)
    known = {_underscored(path): path for path, _ in module.named_modules() if path}
    found = {}
    for operation in program.functions["main"].operations:
        names, types = operation.scopes.get(_NAME) or [""], operation.scopes.get(_TYPE) or [""]
        paths = candidates.get((tuple(names[:-1]), tuple(types[:-1])), [])
        path = paths[0] if len(paths) == 1 else _decided(operation, known, paths)
        for output in operation.outputs:
            if operation.op_type != "const":
                found[output.name] = path.removeprefix(WRAPPER)
    return found


def _candidates(module: nn.Module) -> dict[Key, list[str]]:
    """Names and classes of modules that are called → the paths that have them."""
    found: dict[Key, list[str]] = defaultdict(list)
    keys: dict[str, Key] = {"": ((), ())}
    for path, part in module.named_modules():
        if not path:
            continue
        parent, _, name = path.rpartition(".")
        names, types = keys[parent]
        called = not isinstance(part, nn.ModuleList | nn.ModuleDict)
        keys[path] = ((*names, name), (*types, type(part).__name__)) if called else (names, types)
        if called:
            found[keys[path]].append(path)
    return found


def _decided(operation: Any, known: dict[str, str], paths: list[str]) -> str:
    for value in operation.inputs.values():
        for each in value if isinstance(value, list | tuple) else [value]:
            name = str(getattr(each, "name", ""))
            layer = re.sub(r"_(weight|bias)(_[a-z0-9_]*)?$", "", name)
            if known.get(layer) in paths:
                return known[layer]
    shared = []
    for names in zip(*(path.split(".") for path in paths), strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)


def _underscored(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", path)
