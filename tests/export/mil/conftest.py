"""Packages that coremltools converts, made once a session."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F


class SmallVocoder(nn.Module):
    """mel (1, 6, T) → wav (1, 1, 4 T)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(6, 8, 7, padding=3)
        self.up = nn.ConvTranspose1d(8, 6, 8, stride=4, padding=2)
        self.dilated = nn.Conv1d(6, 6, 3, dilation=3, padding=3)
        self.grouped = nn.Conv1d(6, 6, 5, padding=2, groups=3)
        self.last = nn.Conv1d(6, 1, 7, padding=3)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        x = self.up(F.leaky_relu(self.first(mel), 0.1))
        x = x + self.dilated(F.leaky_relu(x, 0.1)) / 2
        return torch.tanh(self.last(self.grouped(x)))


@pytest.fixture(scope="session")
def small_vocoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Precision → package; beside it 8.npz and 16.npz with PyTorch's inputs and outputs."""
    folder = tmp_path_factory.mktemp("vocoder")
    torch.manual_seed(3)
    net = SmallVocoder().eval()
    for frames in (8, 16):
        mel = torch.randn(1, 6, frames)
        with torch.no_grad():
            np.savez(folder / f"{frames}.npz", mel=mel.numpy(), wav=net(mel).numpy())
    with warnings.catch_warnings():
        # a converted model leaves temporary folders to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        packages = {precision: _convert(net, folder, precision) for precision in ("fp32", "fp16")}
        gc.collect()
    return packages


def _convert(net: SmallVocoder, folder: Path, precision: str) -> Path:
    import coremltools as ct

    traced = torch.jit.trace(net, torch.randn(1, 6, 8))  # type: ignore[no-untyped-call]
    model = ct.convert(
        traced,
        inputs=[ct.TensorType("mel", shape=ct.EnumeratedShapes([(1, 6, 8), (1, 6, 16)]))],
        outputs=[ct.TensorType("wav")],
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16,
    )
    package = folder / f"{precision}.mlpackage"
    model.save(str(package))
    return package


@pytest.fixture
def converted(small_vocoder: dict[str, Path]) -> Path:
    """A package that coremltools has saved; copy it before changing it."""
    return small_vocoder["fp32"]
