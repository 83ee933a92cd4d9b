"""Refusals on their way out of a worker process."""

from __future__ import annotations

import pickle

import pytest

from edge_runtime.errors import EdgeError, InputError, TargetError


@pytest.mark.parametrize("kind", [EdgeError, InputError, TargetError])
def test_a_refusal_survives_pickling(kind: type[EdgeError]) -> None:
    refusal = kind("a.npy", got="noise", expected="frames", cause="it is damaged").within("clip")
    again = pickle.loads(pickle.dumps(refusal))
    assert type(again) is kind
    assert str(again) == str(refusal) == "clip: a.npy: got noise, expected frames; it is damaged"
    assert vars(again) == vars(refusal)
