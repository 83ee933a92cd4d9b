"""A net that uses what the bundle is wide enough for: several inputs and outputs, five types, any size.

    tokens (1, n) int64, mask (1, n) bool, bias (1, width) float16, offset (1,) int32
        → states (1, n, width) float32, winners (1, n) int64, loud (1, n) bool

It stands for text encoders and UNets, whose weights are in linear layers. `tests/large_export.py` makes it
larger than 2 GiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor as Values
from torch import nn

from edge_export.catalog import Net
from edge_export.catalog.dynamic_axes import Axis, Span
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance


@dataclass(frozen=True)
class WideConfig:
    """Sizes."""

    vocabulary: int = 50
    width: int = 16
    layers: int = 2

    @property
    def weight_bytes(self) -> int:
        """Of all weights in float32."""
        linear = 2 * self.width * 4 * self.width + 5 * self.width
        return 4 * (self.vocabulary * self.width + self.layers * (linear + 2 * self.width))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Values) -> Values:
        y: Values = self.narrow(F.silu(self.widen(self.norm(x))))
        return x + 0.3 * y


class Wide(nn.Module):
    def __init__(self, config: WideConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config.width) for _ in range(config.layers))

    def forward(
        self, tokens: Values, mask: Values, bias: Values, offset: Values
    ) -> tuple[Values, Values, Values]:
        x = self.embed(tokens) + bias.float()[:, None]
        for block in self.blocks:
            x = block(x)
        x = x * mask.float()[..., None]
        return x, x.argmax(-1) + offset, x.amax(-1) > 2


def _cases(config: WideConfig, axes: Mapping[str, Axis]) -> dict[str, dict[str, np.ndarray]]:
    del axes
    generator = np.random.default_rng(0)
    return {
        f"n-{n}": {
            "tokens": generator.integers(0, config.vocabulary, (1, n)),
            "mask": np.arange(n)[None] < n - 1,
            "bias": np.linspace(-1, 1, config.width, dtype=np.float16)[None],
            "offset": np.array([3], np.int32),
        }
        for n in (5, 8)
    }


NET: Net[WideConfig] = Net(
    name="wide",
    summary="several inputs and outputs",
    signature="tokens, mask, bias, offset -> states, winners, loud",
    presets=("small",),
    preset=lambda _: WideConfig(),
    config_from_json=lambda entries: WideConfig(**entries),
    build=lambda config: Wide(config),
    inputs=lambda config: (
        Tensor("tokens", "int64", (1, "n"), "words", "index"),
        Tensor("mask", "bool", (1, "n"), "which are there", ""),
        Tensor("bias", "float16", (1, config.width), "what is added to all", ""),
        Tensor("offset", "int32", (1,), "what is added to the winners", ""),
    ),
    outputs=lambda config: (
        Tensor("states", "float32", (1, "n", config.width), "states", ""),
        Tensor("winners", "int64", (1, "n"), "largest state", "index"),
        Tensor("loud", "bool", (1, "n"), "whether one is above 2", ""),
    ),
    front_end=lambda _: None,
    geometry=lambda _: Geometry(None, None, None),
    tolerance={"fp32": Tolerance(1e-4, 80.0), "fp16": Tolerance(0.1, 40.0)},
    cases=_cases,
    coreml_axes={"n": Span(1, 64)},
)


def random_wide(config: WideConfig = WideConfig(), seed: int = 0) -> Wide:
    torch.manual_seed(seed)
    return Wide(config).eval().requires_grad_(requires_grad=False)
