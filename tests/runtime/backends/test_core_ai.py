"""Core AI says what it lacks; assets that run are in tests/export/to_coreai."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from edge_runtime.backends import core_ai, worker
from edge_runtime.errors import BackendError


def test_without_the_library_it_names_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "find_spec", lambda _name: None)
    line = r"pip install 'edge-export[coreai]'"
    assert core_ai.unavailable().startswith(f"{line}: got no module named coreai, expected coreai-core")
    with pytest.raises(BackendError, match=r"coreai: got no module .*; pip install 'edge-export\[coreai\]'"):
        core_ai.open(tmp_path)


def test_it_knows_the_processor_alone() -> None:
    assert core_ai.unavailable("ane") == "coreai has no other device: got ane, expected cpu"


@pytest.mark.skipif(find_spec("coreai") is None, reason="coreai-core is not here")
def test_a_folder_that_is_no_asset_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=f"{tmp_path.name}: loading with coreai: got "):
        core_ai.open(tmp_path)
