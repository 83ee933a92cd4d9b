"""Frozen dataclasses ↔ JSON values, with the annotations as the schema.

`encode_fields` gives what json.dumps takes; `decode_fields` gives the dataclass back, or a BundleError that
names the entry, the value got and the type expected. Annotations may be str, int, float, bool, Any,
dict[str, X], tuple[X, ...], Literal of strings, a union of plain types, X | None, and dataclasses; a nested
one that has ``to_json`` and ``from_json`` of its own is asked instead. Entries must be the fields: an unknown
one is refused, and a missing one too, unless its field has a default.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from edge_runtime.errors import BundleError, EdgeError

_ROOT = "the manifest"


def encode(value: Any) -> Any:
    """A value built of dataclasses, tuples and dicts as JSON values."""
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return value.to_json() if hasattr(value, "to_json") else encode_fields(value)
    return value


def encode_fields(record: Any) -> dict[str, Any]:
    """A dataclass as a JSON object, field by field."""
    return {field.name: encode(getattr(record, field.name)) for field in fields(record)}


def decode_fields(kind: Any, entries: dict[str, Any], where: str = "") -> Any:
    """A JSON object as the dataclass `kind`; `where` is its place in the file, empty at the top.

    Raises:
        BundleError: an entry is missing, unknown, of a wrong type, or refused by the dataclass itself.
    """
    names = [field.name for field in fields(kind)]
    needed = {field.name for field in fields(kind) if _has_no_default(field)}
    if missing := needed - set(entries):
        raise BundleError(
            where or _ROOT, got=f"no {listed(missing)}", expected=f"the entries {listed(names)}"
        )
    if unknown := set(entries) - set(names):
        raise BundleError(where or _ROOT, got=f"{listed(unknown)}", expected=f"the entries {listed(names)}")
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    values = {name: _decode(hints[name], entries[name], prefix + name) for name in names if name in entries}
    return _made(lambda: kind(**values), where)


def _has_no_default(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def listed(names: Iterable[str]) -> str:
    """Names for a sentence: sorted, with commas; "none" where there are none.

    >>> listed({"onnx", "coreml"})
    'coreml, onnx'
    """
    return ", ".join(sorted(names)) or "none"


def _made(make: Callable[[], Any], where: str) -> Any:
    """What `make` returns; an error that it raises gets the place in the file."""
    try:
        return make()
    except BundleError:
        raise
    except EdgeError as error:
        place = f"{where}.{error.what}" if where else error.what
        raise BundleError(place, got=error.got, expected=error.expected, cause=error.cause) from error
    except (TypeError, ValueError) as error:
        raise BundleError(where or _ROOT, got=f"«{error}»", expected="entries of the right types") from error


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _decode_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise _unfit(where, value, " or ".join(arguments))
        return value
    if origin is tuple:
        items = _typed(list, value, where)
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if origin is dict:
        entries = _typed(dict, value, where)
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in entries.items()}
    if is_dataclass(kind):
        entries = _typed(dict, value, where)
        if hasattr(kind, "from_json"):
            return _made(lambda: kind.from_json(entries), where)
        return decode_fields(kind, entries, where)
    if kind is float and type(value) is int:
        return float(value)
    return _typed(kind, value, where)


def _decode_union(kinds: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return _decode(rest[0], value, where)
    if type(value) not in rest:
        raise _unfit(where, value, " or ".join(kind.__name__ for kind in rest))
    return value


def _typed(kind: type, value: Any, where: str) -> Any:
    if type(value) is not kind:  # no isinstance: True is not an integer here
        names = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}
        raise _unfit(where, value, names.get(kind, kind.__name__))
    return value


def _unfit(where: str, value: Any, expected: str) -> BundleError:
    return BundleError(where or _ROOT, got=f"{json.dumps(value, ensure_ascii=False):.60}", expected=expected)
