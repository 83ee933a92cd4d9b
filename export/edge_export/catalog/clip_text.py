"""clip-text in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_export.catalog.sd_unet import locate
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.image_speech.net_configs import ClipTextConfig

_ANY_END = 2  # transformers' sign for «the largest id of the row»


_CODE: Trained[ClipTextConfig] = Trained("clip-text")


def _carried(config: ClipTextConfig, weights: Path) -> Mapping[str, Path]:
    from edge_training.image_speech.loadable import tokenizer_files

    return tokenizer_files(weights, config)


def _inputs(config: ClipTextConfig) -> tuple[Tensor, ...]:
    meaning = "tokens: start, the text, end; the end's again up to the last position"
    unit = f"entries of tokenizer/vocab.json, below {config.vocab_size}"
    return (Tensor("input_ids", "int32", ("batch", config.max_position_embeddings), meaning, unit),)


def _outputs(config: ClipTextConfig) -> tuple[Tensor, ...]:
    states = ("batch", config.max_position_embeddings, config.hidden_size)
    return (
        Tensor(
            "last_hidden_state", "float32", states, "what the UNet's cross attention reads", "the net's own"
        ),
        Tensor(
            "pooler_output", "float32", ("batch", config.hidden_size), "the state at the end", "the net's own"
        ),
    )


def _cases(config: ClipTextConfig, _axes: Axes) -> dict[str, Arrays]:
    """A short text, and one that fills all positions."""
    last = config.vocab_size - 1 if config.eos_token_id == _ANY_END else config.eos_token_id
    start, positions = max(config.vocab_size - 2, 0), config.max_position_embeddings
    words = np.random.default_rng(5).integers(0, max(config.vocab_size - 3, 1), positions)
    ids = {}
    for name, length in (("short", min(9, positions)), ("full", positions)):
        row = np.full(positions, last, np.int32)
        row[: length - 1] = words[: length - 1]
        row[0] = start
        ids[name] = {"input_ids": row[None]}
    return ids


NET: Net[ClipTextConfig] = Net(
    name="clip-text",
    summary="a prompt's tokens to the condition of the UNet: CLIP's text encoder",
    signature="input_ids (batch, tokens) -> last_hidden_state (batch, tokens, dim), "
    "pooler_output (batch, dim)",
    presets=("sd15", "tiny"),
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda _: None,
    geometry=lambda _: Geometry(None, None, None),
    tolerance=MappingProxyType({"fp32": Tolerance(1e-4, 100.0), "fp16": Tolerance(5e-2, 45.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,))}),
    locate=lambda source: locate("text_encoder", source),
    carried=_carried,
    justified=MappingProxyType(
        {
            "fp16-headroom": "the causal mask, -30000 or -65504, is added once to single digits",
            "large-gather": "77 rows of the table of words, once a prompt",
        }
    ),
)
