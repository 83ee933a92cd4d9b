"""Palettes: every weight of a Core ML package an index of 8 or 6 bits into a table of its own.

The table of a weight is found by k-means over its values (`coremltools.optimize`), so that a 6-bit package
is about three eighths of the fp16 one. Core ML widens weights when it loads a package, or as it computes
(`constexpr_lut_to_dense`); arithmetic is that of fp16. Tables that are looked up in (embeddings) stay
float16, as in Apple's own conversions of Stable Diffusion.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import coremltools as ct
import coremltools.optimize as cto

from edge_runtime.errors import BackendError

BITS = {"palette8": 8, "palette6": 6}
SMALLEST = 1024  # values of a weight; a table for less is as large as what it saves


def palettized(model: Any, precision: str) -> Any:
    """A converted fp16 model with palettes; the one that is given stays as it is.

    Raises:
        BackendError: scikit-learn, which computes the tables, is missing.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise BackendError(
            "palettes",
            got="no module named sklearn",
            expected="scikit-learn",
            cause="pip install scikit-learn",
        )
    each = cto.coreml.OpPalettizerConfig(mode="kmeans", nbits=BITS[precision], weight_threshold=SMALLEST)
    config = cto.coreml.OptimizationConfig(global_config=each, op_type_configs={"gather": None})
    palettes: ct.models.MLModel = cto.coreml.palettize_weights(model, config)
    return palettes
