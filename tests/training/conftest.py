"""The corpus that training tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.vocoder.tiny_run import write_clips


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("corpus"), 7)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
