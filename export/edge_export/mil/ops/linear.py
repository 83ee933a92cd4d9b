"""Matrix products, Einstein sums and attention."""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.activation import softmax
from edge_export.mil.ops.registry import as_list, operation


@operation("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x (*, D_in), weight (D_out, D_in) → (*, D_out)."""
    product = np.matmul(x, weight.T)
    return product if bias is None else product + bias


@operation("matmul")
def matmul(x: Array, y: Array, transpose_x: Any = False, transpose_y: Any = False) -> Array:
    left = np.swapaxes(x, -1, -2) if transpose_x and x.ndim > 1 else x
    right = np.swapaxes(y, -1, -2) if transpose_y and y.ndim > 1 else y
    return np.matmul(left, right)


@operation("einsum")
def einsum(values: Any, equation: str) -> Array:
    """Lengths of 1 broadcast, which numpy's einsum does not do by itself."""
    operands = as_list(values)
    terms, result = equation.replace(" ", "").split("->")
    lengths: dict[str, int] = {}
    for term, operand in zip(terms.split(","), operands, strict=True):
        for letter, length in zip(term, operand.shape, strict=True):
            lengths[letter] = max(length, lengths.get(letter, 1))
    whole = [
        np.broadcast_to(operand, [lengths[letter] for letter in term])
        for term, operand in zip(terms.split(","), operands, strict=True)
    ]
    return np.asarray(np.einsum(f"{terms}->{result}", *whole, optimize=True))


@operation("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None
) -> Array:
    """query (*, L, E), key (*, S, E), value (*, S, V) → (*, L, V)."""
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) / np.float32(np.sqrt(query.shape[-1]))
    if attn_mask is not None and attn_mask.dtype == np.bool_:
        scores = np.where(attn_mask, scores, -np.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return np.matmul(softmax(scores), value)
