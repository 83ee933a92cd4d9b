"""Random weights that behave like trained ones: each layer's output has a deviation of about 1.

With default initial weights signals fade: an untrained AudioEncoder gives 0…0.07, a HiFi-GAN ±0.03 with
hardly any variation, and a precision that passes there proves nothing for a real net. So the layers are
scaled one after the other, in the order in which they run on an example (Mishkin, Matas 2015, arXiv
1511.06422); batch norm takes the example's own statistics; the last layer is scaled to a given range.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Weighted = Convolution | Transposed | nn.Linear
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def random_module(
    build: Callable[[], nn.Module], seed: int, example: tuple[Tensor, ...], *, rms: float, mean: float = 0.0
) -> nn.Module:
    """A module in evaluation mode with weights from a seed.

    Args:
        build: makes the module; its initial weights are drawn with the seed.
        example: inputs (batch, …) to scale with; several windows or frames, so that there is a deviation.
        rms: wanted standard deviation of the last layer's output (before its activation).
        mean: added to the last layer's bias.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build().eval()
    last: list[nn.Module] = []
    hooks = []
    for layer in module.modules():
        if isinstance(layer, Weighted):
            hooks.append(layer.register_forward_hook(_to_unit_deviation))
        elif isinstance(layer, BatchNorm):
            hooks.append(layer.register_forward_pre_hook(_take_statistics))
        if isinstance(layer, Weighted | BatchNorm):
            hooks.append(layer.register_forward_hook(lambda layer, *_: last.append(layer)))
    with torch.no_grad():
        module(*example)
        for hook in hooks:
            hook.remove()
        _scale(last[-1], rms)
        if mean:
            assert isinstance(last[-1].bias, nn.Parameter)
            last[-1].bias.add_(mean)
    return module


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 of a module's tensors, its constants included: names and bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted((module.state_dict() | dict(module.named_buffers())).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _to_unit_deviation(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Scale a layer so that its output deviates by 1, and return that output."""
    factor = 1.0 / max(float(output.std()), 1e-6)
    _scale(layer, factor)
    return output * factor


def _scale(layer: nn.Module, factor: float) -> None:
    assert isinstance(layer, Weighted | BatchNorm)
    layer.weight.mul_(factor)
    if layer.bias is not None:
        layer.bias.mul_(factor)


def _take_statistics(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Means channel by channel; one variance for all, as a few windows are too little to estimate each."""
    assert isinstance(norm, BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    channels = inputs[0].transpose(0, 1).flatten(1)
    norm.running_mean.copy_(channels.mean(1))
    norm.running_var.fill_(max(float(channels.var(1, correction=0).mean()), 1e-6))
