"""Pickles read without Python's unpickler: tensors, containers and scalars; all else as inert stand-ins.

Nothing that a file names is imported, looked up or called. A global is its name and no more (`Named`); what
would call one makes a `StandIn` that remembers name, arguments and state; the few names in `_BUILDERS` are
known here and make tensors (`Stored`, unread) and plain containers.

What a file can cost is bounded by its own length: each operation makes at most one small object, memo
places are the keys of a dict, whatever its numbers claim, and keys of dicts are scalars alone (the hash of
nested tuples takes exponential time). Containers may hold themselves: who walks them remembers where it was.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

MOST_OPERATIONS = 4_000_000  # of one pickle; tensors take some sixty each
MOST_BYTES = 1 << 30  # of one pickle, texts and bytes included
MOST_COPIED = 1 << 28  # bytes that its calls copy from one object into another
ENTRY = 64  # bytes of one entry of a container, about
MOST_AXES = 64
MOST_REPEATED = 1 << 16  # values of a tensor that repeats those of a smaller storage

# modules and functions that no weights need; a file that calls one is refused by name. Safety does not hang
# on this list (nothing is called, whatever its name): it tells an attack from a harmless object.
_HOSTILE_MODULES = frozenset(
    {
        "os",
        "posix",
        "nt",
        "subprocess",
        "sys",
        "shutil",
        "socket",
        "ctypes",
        "runpy",
        "importlib",
        "imp",
        "pty",
    }
    | {"code", "codeop", "timeit", "pdb", "bdb", "cProfile", "profile", "webbrowser", "pickle", "_pickle"}
    | {"marshal", "multiprocessing", "asyncio", "signal", "urllib", "http", "ftplib", "smtplib", "commands"}
    | {"tempfile", "pip", "ensurepip", "venv", "atexit", "gc", "inspect", "linecache", "trace", "doctest"}
)
_HOSTILE_NAMES = frozenset(
    {"eval", "exec", "execfile", "compile", "open", "__import__", "input", "breakpoint", "globals", "apply"}
    | {"FunctionType", "CodeType", "LambdaType", "load_library", "_load_global_deps"}
)


class PickleError(ValueError):
    """Bytes that are no pickle of ours; `called` names what it would have called, where it is hostile."""

    def __init__(self, reason: str, called: str = "") -> None:
        super().__init__(reason)
        self.called = called


class StorageReader(Protocol):
    """Where the values of storages lie."""

    def read(self, storage: Storage, first: int, count: int) -> bytearray:
        """`count` bytes from byte `first` of a storage on; raises EOFError where there are fewer."""
        ...


@dataclass(frozen=True)
class Storage:
    """A run of values of the file, named and not read."""

    key: str
    dtype: torch.dtype | None  # None: bytes, as newer tensors have it
    elements: int
    source: StorageReader = field(repr=False, compare=False)
    first: int = 0  # byte, of a view into another storage
    where: str = "cpu"


@dataclass(frozen=True)
class Stored:
    """A tensor of a file: its shape and type are known, its values are read by `read()`."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor] = field(repr=False, compare=False)
    kind: str = ""  # why it is none that weights may be: «a quantised tensor», «a tensor that …»

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def values(self) -> int:
        """How many."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Named:
    """A global of the file: its name, and nothing behind it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class StandIn:
    """An object that the file describes and nobody made: its class or function, and what that was given."""

    of: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)


class _Mark:
    pass


_MARK = _Mark()


def read_pickle(
    file: BinaryIO,
    source: StorageReader | None = None,
    *,
    inner: Callable[[bytes], Any] | None = None,
    storages: dict[str, Storage] | None = None,
) -> object:
    """The object of the pickle at the file's position, which is left right behind it.

    Args:
        file: opened for reading, seekable.
        source: where the values of its tensors will be read; None: it may have no tensors of its own.
        inner: reads a storage that was pickled as a little file of weights; None: there may be none.
        storages: takes what the pickle names, by key.

    Raises:
        PickleError: hostile calls, or bytes that are no pickle; anything else that damaged bytes cause is
            raised as it comes.
    """
    machine = _Machine(source, inner, {} if storages is None else storages)
    start = file.tell()
    for count, (operation, argument, position) in enumerate(pickletools.genops(file)):
        if count >= MOST_OPERATIONS or (position or 0) - start > MOST_BYTES:
            raise PickleError("more operations than any weights take")
        step = _STEPS.get(operation.name)
        if step is None:
            raise PickleError(f"the operation {operation.name}")
        step(machine, argument)
    return machine.pop()


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(
        self,
        source: StorageReader | None,
        inner: Callable[[bytes], Any] | None,
        storages: dict[str, Storage],
    ) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.source = source
        self.inner = inner
        self.storages = storages
        self.left = MOST_COPIED
        self.made: dict[int, tuple[object, Any]] = {}  # identity of an argument → it and what came of it

    def spend(self, count: int) -> None:
        """Account for bytes that a call copies: one large object may be given to it again and again."""
        self.left -= count
        if self.left < 0:
            raise PickleError("calls that copy more than any weights need")

    def once(self, argument: object, make: Callable[[], Any]) -> Any:
        """The result for an argument, made only the first time."""
        if id(argument) not in self.made:
            self.made[id(argument)] = argument, make()
        return self.made[id(argument)][1]

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("a mark where a value belongs")
        return value

    def above_mark(self) -> list[Any]:
        """What was pushed since the last mark, taken off with it."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                above = self.stack[place + 1 :]
                del self.stack[place:]
                return above
        raise PickleError("no mark")

    def call(self, called: Any, arguments: Any) -> Any:
        """What stands for `called(*arguments)`."""
        if isinstance(called, StandIn):  # a method of an object that nobody made
            return StandIn(called.of, _tuple(arguments))
        if not isinstance(called, Named):
            raise PickleError(f"a call of a {type(called).__name__}")
        refuse_hostile(called)
        builder = _BUILDERS.get((called.module, called.name))
        if builder is not None:
            return builder(self, *_tuple(arguments))
        return StandIn(str(called), _tuple(arguments))

    def persistent(self, identity: Any) -> Any:
        """torch's ("storage", type, key, place, elements, view) and ("module", class, file, source)."""
        if isinstance(identity, tuple) and len(identity) >= 2 and _text(identity[0]) == "module":
            return identity[1]
        if not (isinstance(identity, tuple) and len(identity) >= 5 and _text(identity[0]) == "storage"):
            raise PickleError("a reference to something outside the file")
        if self.source is None:
            raise PickleError("tensors without their values")
        kind, key, where, elements = identity[1:5]
        view = identity[5] if len(identity) > 5 else None
        dtype = _storage_dtype(kind)
        first = 0
        if view is not None:
            _, offset, elements = view
            first = _whole(offset) * _size(dtype)
        storage = Storage(str(_text(key)), dtype, _whole(elements), self.source, first, str(_text(where)))
        self.storages.setdefault(storage.key, storage)
        return storage


def refuse_hostile(called: Named) -> None:
    """PickleError for a call of what runs code or touches files."""
    top = called.module.partition(".")[0]
    builtin = top in ("builtins", "__builtin__", "types", "torch", "io", "_io")
    if top in _HOSTILE_MODULES or (builtin and called.name in _HOSTILE_NAMES):
        raise PickleError(f"a call of {called}", str(called))


# ---- operations -------------------------------------------------------------------------------------------


def _set_items(box: Any, pairs: list[Any]) -> None:
    if isinstance(box, dict):
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            box[_key(key)] = value
    elif isinstance(box, StandIn):
        box.items += pairs
    else:
        raise PickleError(f"entries of a {type(box).__name__}")


def _append(box: Any, values: list[Any]) -> None:
    if isinstance(box, list):
        box += values
    elif isinstance(box, StandIn):
        box.items += values
    else:
        raise PickleError(f"items of a {type(box).__name__}")


def _key(key: Any) -> Any:
    """Scalars as they are; anything else as a thing of its own, for equality of nests may take for ever."""
    return (
        key if key is None or type(key) in (str, int, float, bool, bytes, Named) else StandIn("a key", (key,))
    )


def _build(machine: _Machine) -> None:
    state = machine.pop()
    box = machine.stack[-1]
    if isinstance(box, StandIn):
        box.state = state
    elif not isinstance(box, dict | list | Stored):  # attributes of a container, as state dicts' _metadata
        raise PickleError(f"a state for a {type(box).__name__}")


def _put(machine: _Machine, place: int | None) -> None:
    machine.memo[len(machine.memo) if place is None else int(place)] = machine.stack[-1]


def _instance(machine: _Machine, named: str) -> None:
    module, _, name = named.partition(" ")
    machine.push(machine.call(Named(module, name), tuple(machine.above_mark())))


def _object(machine: _Machine) -> None:
    called, *arguments = machine.above_mark()
    machine.push(machine.call(called, tuple(arguments)))


def _reduce(machine: _Machine) -> None:
    arguments = machine.pop()
    machine.push(machine.call(machine.pop(), arguments))


def _new_with_keywords(machine: _Machine) -> None:
    keywords = machine.pop()
    arguments = machine.pop()
    made = machine.call(machine.pop(), arguments)
    if isinstance(made, StandIn):
        made.state = keywords
    machine.push(made)


def _stack_global(machine: _Machine) -> None:
    name = machine.pop()
    machine.push(Named(str(machine.pop()), str(name)))


def _global(machine: _Machine, named: str) -> None:
    module, _, name = named.partition(" ")
    machine.push(Named(module, name))


def _tuple_of(machine: _Machine, count: int) -> None:
    items = [machine.pop() for _ in range(count)]
    machine.push(tuple(reversed(items)))


def _two_by_two(machine: _Machine) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    _set_items(made, machine.above_mark())
    return made


def _set_item(machine: _Machine) -> None:
    value = machine.pop()
    key = machine.pop()
    _set_items(machine.stack[-1], [key, value])


def _append_one(machine: _Machine) -> None:
    value = machine.pop()
    _append(machine.stack[-1], [value])


def _set_many(machine: _Machine) -> None:
    pairs = machine.above_mark()
    _set_items(machine.stack[-1], pairs)


def _append_many(machine: _Machine) -> None:
    values = machine.above_mark()
    _append(machine.stack[-1], values)


def _nothing(_: _Machine, __: Any) -> None:
    pass


def _constant(value: object) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(value)


def _value(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


_Step = Callable[[_Machine, Any], Any]
_STEPS: Mapping[str, _Step] = MappingProxyType(
    {
        **dict.fromkeys(("PROTO", "FRAME", "STOP", "READONLY_BUFFER"), _nothing),
        **dict.fromkeys(
            (
                *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
                *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
                *("BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
            ),
            _value,
        ),
        "NONE": _constant(None),
        "NEWTRUE": _constant(value=True),
        "NEWFALSE": _constant(value=False),
        "EMPTY_TUPLE": _constant(()),
        "EMPTY_LIST": lambda machine, _: machine.push([]),
        "EMPTY_DICT": lambda machine, _: machine.push({}),
        "EMPTY_SET": lambda machine, _: machine.push(StandIn("builtins.set")),
        "MARK": lambda machine, _: machine.push(_MARK),
        "POP": lambda machine, _: machine.stack.pop(),
        "POP_MARK": lambda machine, _: machine.above_mark(),
        "DUP": lambda machine, _: machine.push(machine.stack[-1]),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
        **dict.fromkeys(
            ("GET", "BINGET", "LONG_BINGET"), lambda machine, place: machine.push(machine.memo[int(place)])
        ),
        "LIST": lambda machine, _: machine.push(machine.above_mark()),
        "TUPLE": lambda machine, _: machine.push(tuple(machine.above_mark())),
        "TUPLE1": lambda machine, _: _tuple_of(machine, 1),
        "TUPLE2": lambda machine, _: _tuple_of(machine, 2),
        "TUPLE3": lambda machine, _: _tuple_of(machine, 3),
        "DICT": lambda machine, _: machine.push(_two_by_two(machine)),
        "FROZENSET": lambda machine, _: machine.push(
            StandIn("builtins.frozenset", items=machine.above_mark())
        ),
        "APPEND": lambda machine, _: _append_one(machine),
        "APPENDS": lambda machine, _: _append_many(machine),
        "ADDITEMS": lambda machine, _: _append_many(machine),
        "SETITEM": lambda machine, _: _set_item(machine),
        "SETITEMS": lambda machine, _: _set_many(machine),
        "GLOBAL": _global,
        "STACK_GLOBAL": lambda machine, _: _stack_global(machine),
        "INST": _instance,
        "OBJ": lambda machine, _: _object(machine),
        "REDUCE": lambda machine, _: _reduce(machine),
        "NEWOBJ": lambda machine, _: _reduce(machine),
        "NEWOBJ_EX": lambda machine, _: _new_with_keywords(machine),
        "BUILD": lambda machine, _: _build(machine),
        "PERSID": lambda machine, identity: machine.push(machine.persistent(identity)),
        "BINPERSID": lambda machine, _: machine.push(machine.persistent(machine.pop())),
        # numbers of a registry that this process has and the file's writer had
        **dict.fromkeys(
            ("EXT1", "EXT2", "EXT4"), lambda machine, code: machine.push(Named("ext", str(code)))
        ),
    }
)


# ---- what is built ----------------------------------------------------------------------------------------


def _tensor(
    _: _Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    *rest: Any,
    dtype: torch.dtype | None = None,
) -> Stored:
    """torch's `_rebuild_tensor_v2`, unread. Sizes are in values."""
    if not isinstance(storage, Storage):
        raise PickleError("a tensor without a storage")
    kind = dtype or storage.dtype
    if kind is None:
        raise PickleError("a tensor of no type")
    shape, strides, first = _wholes(size), _wholes(stride), _whole(offset)
    if len(shape) != len(strides):
        raise PickleError("a tensor whose strides are not those of its shape")
    values = math.prod(shape)
    span = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if values else 0
    held = storage.elements if storage.dtype is not None else storage.elements // _size(kind)
    if first + span > held:
        raise PickleError(f"a tensor of values {first} to {first + span} of a storage of {held}")
    odd = ""
    if values > span and values > MOST_REPEATED:
        odd = f"a tensor whose {values} values are {span} of the file, repeated"
    elif storage.where == "meta":
        odd = "a tensor of layout strided on meta, which has no values"

    def read() -> Tensor:
        content = storage.source.read(storage, storage.first + first * _size(kind), span * _size(kind))
        if not span:
            return torch.empty(shape, dtype=kind)
        return torch.frombuffer(content, dtype=kind, count=span).as_strided(shape, strides)

    del rest  # whether it had a gradient; hooks, which nobody runs
    return Stored(shape, kind, read, odd)


def _tensor_v3(
    machine: _Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    _: Any,
    __: Any,
    dtype: Any,
    *rest: Any,
) -> Stored:
    return _tensor(machine, storage, offset, size, stride, *rest, dtype=_dtype_named(dtype))


def _odd_tensor(kind: str) -> Callable[..., Stored]:
    """A tensor of a kind that weights are not; its values are not looked at."""

    def read() -> Tensor:
        raise PickleError(kind)

    return lambda *_: Stored((), torch.float32, read, kind)


def _first(_: _Machine, value: Any, *__: Any) -> Any:
    return value


def _subclass(machine: _Machine, rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor of a class of its own: the tensor without the class."""
    return machine.call(rebuild, arguments)


def _entries(machine: _Machine, *arguments: Any) -> dict[Any, Any]:
    """A dict of any sort: of nothing, of another dict, or of pairs."""
    made: dict[Any, Any] = {}
    for argument in arguments:
        machine.spend(ENTRY * len(argument) if isinstance(argument, dict | list | tuple) else 0)
        if isinstance(argument, dict):
            made.update(argument)
        elif isinstance(argument, list | tuple):
            for pair in argument:
                key, value = pair
                made[_key(key)] = value
    return made  # a defaultdict's factory has no meaning here


def _items(machine: _Machine, items: Any = ()) -> list[Any]:
    return list(_shape(machine, items))


def _shape(machine: _Machine, items: Any = ()) -> tuple[Any, ...]:
    if not isinstance(items, list | tuple):
        return (items,)
    machine.spend(ENTRY * len(items))
    return tuple(items)


def _encode(machine: _Machine, text: Any, encoding: Any = "utf-8") -> Any:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise PickleError("bytes of another encoding")
    return machine.once(text, lambda: text.encode(encoding))


def _no_bytes(_: _Machine, *arguments: Any) -> Any:
    return StandIn("builtins.bytes", arguments) if arguments else b""


def _new_object(machine: _Machine, called: Any, *arguments: Any) -> Any:
    """copyreg's `__newobj__(class, …)`, and `_reconstructor(class, base, state)` of protocol 0 and 1."""
    return machine.call(called, arguments)


def _from_bytes(machine: _Machine, content: Any) -> Any:
    """A storage that a plain pickle holds as a little file of weights."""
    inner = machine.inner
    if not isinstance(content, bytes) or inner is None:
        raise PickleError("a storage that is no bytes of a file")
    return machine.once(content, lambda: inner(content))


_ODD_TENSORS: Mapping[str, str] = MappingProxyType(
    {
        "_rebuild_qtensor": "a quantised tensor",
        "_rebuild_sparse_tensor": "a tensor of layout sparse on cpu",
        "_rebuild_sparse_csr_tensor": "a tensor of layout sparse on cpu",
        "_rebuild_nested_tensor": "a nested tensor",
        "_rebuild_meta_tensor_no_storage": "a tensor of layout strided on meta, which has no values",
        "_rebuild_wrapper_subclass": "a tensor of a class that wraps another",
        "_rebuild_device_tensor_from_numpy": "a tensor of another device",
        "_rebuild_xla_tensor": "a tensor of another device",
    }
)
_BUILDERS: Mapping[tuple[str, str], Callable[..., Any]] = MappingProxyType(
    {
        ("torch._utils", "_rebuild_tensor"): _tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
        ("torch._utils", "_rebuild_parameter"): _first,
        ("torch._utils", "_rebuild_parameter_with_state"): _first,
        ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _first,
        ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
        **{("torch._utils", name): _odd_tensor(kind) for name, kind in _ODD_TENSORS.items()},
        ("torch.storage", "_load_from_bytes"): _from_bytes,
        ("torch", "Size"): _shape,
        ("collections", "OrderedDict"): _entries,
        ("collections", "defaultdict"): _entries,
        ("collections", "Counter"): _entries,
        ("builtins", "dict"): _entries,
        ("__builtin__", "dict"): _entries,
        ("builtins", "list"): _items,
        ("__builtin__", "list"): _items,
        ("builtins", "tuple"): _shape,
        ("builtins", "bytes"): _no_bytes,  # protocols 0 to 2 write the empty ones so
        ("__builtin__", "bytes"): _no_bytes,
        ("_codecs", "encode"): _encode,
        ("copyreg", "__newobj__"): _new_object,
        ("copy_reg", "__newobj__"): _new_object,
    }
)

_STORAGES: Mapping[str, torch.dtype | None] = MappingProxyType(
    {
        "FloatStorage": torch.float32,
        "DoubleStorage": torch.float64,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.bool,
        "ComplexFloatStorage": torch.complex64,
        "ComplexDoubleStorage": torch.complex128,
        "QInt8Storage": torch.int8,  # of quantised tensors, which are refused as such
        "QUInt8Storage": torch.uint8,
        "QInt32Storage": torch.int32,
        "UntypedStorage": None,
    }
)
# written out, so that no name of a file is ever looked up in torch
_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {str(dtype).removeprefix("torch."): dtype for dtype in _STORAGES.values() if dtype is not None}
    | {
        str(dtype).removeprefix("torch."): dtype
        for dtype in (torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2)
    }
)


def _storage_dtype(kind: Any) -> torch.dtype | None:
    if not isinstance(kind, Named) or kind.name not in _STORAGES:
        raise PickleError(f"a storage of type {kind if isinstance(kind, Named) else type(kind).__name__}")
    return _STORAGES[kind.name]


def _dtype_named(kind: Any) -> torch.dtype:
    if not isinstance(kind, Named) or kind.name not in _DTYPES:
        raise PickleError("a tensor of an unknown type")
    return _DTYPES[kind.name]


def _size(dtype: torch.dtype | None) -> int:
    return 1 if dtype is None else dtype.itemsize


def _text(value: Any) -> Any:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise PickleError("a size that is no whole number")
    return value


def _wholes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > MOST_AXES:
        raise PickleError("a shape that is no short list of numbers")
    return tuple(_whole(value) for value in values)


def _tuple(values: Any) -> tuple[Any, ...]:
    if not isinstance(values, tuple):
        raise PickleError(f"arguments that are a {type(values).__name__}")
    return values
