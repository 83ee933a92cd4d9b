"""Names of a package that are loaded when they are used."""

from __future__ import annotations

import pytest

from edge_runtime.lazy_names import lazy_names
from edge_runtime.media.audio import read_audio


def test_names_are_found_where_they_are_defined() -> None:
    load, names = lazy_names("edge_runtime", {"read_audio": "media.audio", "read": "media.audio:read_audio"})
    assert load("read_audio") is load("read") is read_audio
    assert "read_audio" in names()
    assert "__name__" in names()
    with pytest.raises(AttributeError, match="module 'edge_runtime' has no attribute 'read_video'"):
        load("read_video")
