"""Activations. `ACTIVATIONS` holds those that a recurrent layer may name."""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.elementwise import erf
from edge_export.mil.ops.registry import operation


@operation("relu")
def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@operation("relu6")
def relu6(x: Array) -> Array:
    return np.clip(x, 0, 6)


@operation("leaky_relu")
def leaky_relu(x: Array, alpha: Array) -> Array:
    return np.where(x >= 0, x, alpha * x)


@operation("thresholded_relu")
def thresholded_relu(x: Array, alpha: Array) -> Array:
    return np.where(x >= alpha, x, 0)


@operation("clamped_relu")
def clamped_relu(x: Array, alpha: Array, beta: Array) -> Array:
    return np.minimum(beta, np.where(x >= 0, x, alpha * x))


@operation("prelu")
def prelu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, _channels(alpha, x) * x)


@operation("elu")
def elu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(x))


@operation("linear_activation")
def linear_activation(x: Array, alpha: Array, beta: Array) -> Array:
    return x * alpha + beta


@operation("scaled_tanh")
def scaled_tanh(x: Array, alpha: Array, beta: Array) -> Array:
    return alpha * np.tanh(beta * x)


@operation("sigmoid")
def sigmoid(x: Array) -> Array:
    # tanh cannot overflow, where exp(-x) does for x < -88
    return np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5)


@operation("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: Array, beta: Array) -> Array:
    return np.clip(alpha * x + beta, 0, 1)


@operation("silu")
def silu(x: Array) -> Array:
    return x * sigmoid(x)


@operation("softplus")
def softplus(x: Array) -> Array:
    return np.logaddexp(x, np.float32(0))


@operation("softplus_parametric")
def softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    return _channels(alpha, x) * softplus(_channels(beta, x) * x)


@operation("softsign")
def softsign(x: Array) -> Array:
    return x / (1 + np.abs(x))


@operation("softmax")
def softmax(x: Array, axis: Array | int = -1) -> Array:
    powers = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return powers / powers.sum(axis=int(axis), keepdims=True)


@operation("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    match mode:
        case "EXACT":
            return 0.5 * x * (1 + erf(x / np.float32(np.sqrt(2))))
        case "TANH_APPROXIMATION":
            return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * x**3)))
        case "SIGMOID_APPROXIMATION":
            return x * sigmoid(1.702 * x)
        case _:
            raise ValueError(f"the mode {mode}")


def _channels(parameter: Array, x: Array) -> Array:
    """One value a channel (axis 1), ready to broadcast over x."""
    return parameter.reshape(1, -1, *[1] * (x.ndim - 2))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": relu,
    "sigmoid": sigmoid,
    # a recurrent layer gives these no parameters: slope 0.2 and offset 0.5, and tanh unscaled
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "sigmoid_hard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "scaled_tanh": np.tanh,
    "tanh": np.tanh,
}
