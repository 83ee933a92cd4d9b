"""Dataclasses survive the way through JSON text; what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.store.dataclass_json import decode_fields, encode_fields


@dataclass(frozen=True)
class Inner:
    size: int
    kind: Literal["a", "b"]

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ConfigError("size", got=str(self.size), expected="at least 0")


@dataclass(frozen=True)
class Own:
    """Has its own words for JSON, and a decoder that knows less about types."""

    pair: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        return {"first": self.pair[0], "second": self.pair[1]}

    @classmethod
    def from_json(cls, entries: dict[str, Any]) -> Own:
        return cls((entries["first"] + 0.0, entries["second"] + 0.0))


@dataclass(frozen=True)
class Outer:
    text: str
    number: float
    flag: bool
    free: dict[str, Any]
    maybe: int | None
    axes: tuple[int | str, ...]
    inner: tuple[Inner, ...]
    table: dict[str, Inner]
    own: Own | None


inners = st.builds(Inner, st.integers(0, 9), st.sampled_from(["a", "b"]))
finite = st.floats(allow_nan=False, allow_infinity=False)
outers = st.builds(
    Outer,
    text=st.text(),
    number=finite,
    flag=st.booleans(),
    free=st.dictionaries(st.text(), st.none() | st.lists(st.integers())),
    maybe=st.none() | st.integers(),
    axes=st.lists(st.integers() | st.text()).map(tuple),
    inner=st.lists(inners).map(tuple),
    table=st.dictionaries(st.text(), inners),
    own=st.none() | st.builds(Own, st.tuples(finite, finite)),
)
ENTRIES = encode_fields(
    Outer("t", 1.0, True, {}, None, (1, "n"), (Inner(1, "a"),), {"x": Inner(2, "b")}, Own((1, 2)))
)


@given(outers)
def test_a_record_survives_json(record: Outer) -> None:
    assert decode_fields(Outer, json.loads(json.dumps(encode_fields(record)))) == record


def test_an_integer_is_a_number() -> None:
    assert type(decode_fields(Outer, ENTRIES | {"number": 3}).number) is float


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("number", True, "number: got true, expected a number"),
        ("flag", 1, "flag: got 1, expected bool"),
        ("maybe", "1", 'maybe: got "1", expected a whole number'),
        ("axes", [None], r"axes\[0\]: got null, expected int or str"),
        ("inner", [{"size": -1, "kind": "a"}], r"inner\[0\]\.size: got -1, expected at least 0"),
        ("table", {"x": {"size": 1, "kind": "c"}}, r'table\.x\.kind: got "c", expected a or b'),
        ("table", {"x": {"size": 1}}, r"table\.x: got no kind, expected the entries kind, size"),
        ("own", {"first": "1", "second": 2}, "own: got «.*», expected entries of the right types"),
        ("text", ["é"] * 99, "text: got .{60}, expected a text"),
    ],
)
def test_what_does_not_fit_is_named(entry: str, value: object, message: str) -> None:
    with pytest.raises(BundleError, match=rf"^{message}"):
        decode_fields(Outer, ENTRIES | {entry: value})
