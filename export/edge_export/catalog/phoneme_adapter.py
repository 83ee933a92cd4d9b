"""phoneme-adapter in the catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.image_speech.phoneme_adapter import PhonemeAdapterConfig


_CODE: Trained[PhonemeAdapterConfig] = Trained("phoneme-adapter")


def _inputs(config: PhonemeAdapterConfig) -> tuple[Tensor, ...]:
    meaning = "a sentence's phonemes: mean of the phoneme encoder's hidden states; zeros for no condition"
    return (Tensor("embedding", "float32", ("batch", config.in_dim), meaning, "the encoder's own"),)


def _outputs(config: PhonemeAdapterConfig) -> tuple[Tensor, ...]:
    shape = ("batch", config.seq_len, config.out_dim)
    meaning = "what the audio UNet's cross attention reads, the same at every position"
    return (Tensor("encoder_hidden_states", "float32", shape, meaning, "the UNet's own"),)


def _cases(config: PhonemeAdapterConfig, _axes: Axes) -> dict[str, Arrays]:
    random = np.random.default_rng(77)
    sentence = random.normal(0.0, 0.8, (1, config.in_dim)).astype(np.float32)  # PL-BERT's deviate by 0.8
    return {
        "sentence": {"embedding": sentence},
        "pair": {"embedding": np.concatenate([np.zeros_like(sentence), sentence])},  # without and with it
    }


NET: Net[PhonemeAdapterConfig] = Net(
    name="phoneme-adapter",
    summary="a sentence's phonemes to the condition of Auffusion's UNet, in place of CLIP's text",
    signature="embedding (batch, dim) -> encoder_hidden_states (batch, tokens, dim)",
    presets=("sd15",),
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda _: None,
    geometry=lambda _: Geometry(None, None, None),
    tolerance=MappingProxyType({"fp32": Tolerance(1e-4, 100.0), "fp16": Tolerance(5e-2, 45.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1, 2))}),
    settle=_CODE.settle,
)
