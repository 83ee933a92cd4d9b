"""A trained module → the module to export: evaluation mode, weight norm and batch norm folded away.

Folded are weight norm (torch's parametrization) and every batch norm that follows a convolution or a linear
layer: directly inside an `nn.Sequential`, or as a module says in `FOLDS`, pairs of attribute names (layer,
norm). A batch norm elsewhere stays; the exporters refuse graphs that still hold one. Finally the method
`fold` of each module that has one is called, for simplifications that only the module itself knows.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def folded(module: nn.Module) -> nn.Module:
    """A folded copy, without gradients; the module itself is not changed.

    Tensors that folding does not change share memory with the module; folded tensors are new, and nothing is
    changed in place.
    """
    shared: dict[int, object] = {
        id(tensor): nn.Parameter(tensor.detach(), requires_grad=False) for tensor in module.parameters()
    }
    shared |= {id(tensor): tensor.detach() for tensor in module.buffers()}
    module = copy.deepcopy(module, shared).eval()
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer):
            _make_plain(layer)
    for sequence in [part for part in module.modules() if isinstance(part, nn.Sequential)]:
        _fold_batch_norms(sequence)
    for part in list(module.modules()):
        _fold_named(part)
        own_rule = getattr(part, "fold", None)
        if callable(own_rule):
            own_rule()
    return module.requires_grad_(requires_grad=False)


def _make_plain(layer: nn.Module) -> None:
    """Replace parametrized tensors by their values.

    torch's `remove_parametrizations` would delete the property from the class, which a deep copy shares with
    its original, and so break the original.
    """
    assert isinstance(layer.parametrizations, nn.ModuleDict)
    values = {name: getattr(layer, name).detach() for name in layer.parametrizations}
    layer.__class__ = type(layer).__bases__[0]
    del layer.parametrizations
    for name, value in values.items():
        setattr(layer, name, nn.Parameter(value))


def _fold_batch_norms(sequence: nn.Sequential) -> None:
    for index in range(len(sequence) - 2, -1, -1):
        layer, norm = sequence[index], sequence[index + 1]
        if isinstance(layer, Convolution | nn.Linear) and isinstance(norm, BatchNorm):
            _scale(layer, norm)
            del sequence[index + 1]


def _fold_named(part: nn.Module) -> None:
    for layer_name, norm_name in getattr(part, "FOLDS", ()):
        layer, norm = getattr(part, layer_name), getattr(part, norm_name)
        assert isinstance(layer, Convolution | nn.Linear)
        assert isinstance(norm, BatchNorm)
        _scale(layer, norm)
        setattr(part, norm_name, nn.Identity())


def _scale(layer: Convolution | nn.Linear, norm: BatchNorm) -> None:
    """y = (W x + b − mean) · gain + bias as one layer; in float64, rounded once."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = torch.rsqrt(norm.running_var.double() + norm.eps)
    bias = torch.zeros_like(gain)
    if norm.affine:
        gain, bias = gain * norm.weight.double(), norm.bias.double()
    before = torch.zeros_like(gain) if layer.bias is None else layer.bias.double()
    weight = layer.weight.double() * gain.reshape(-1, *[1] * (layer.weight.ndim - 1))
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype))
    layer.bias = nn.Parameter(((before - norm.running_mean.double()) * gain + bias).to(layer.weight.dtype))
