"""Folding: the same numbers from fewer layers."""

from __future__ import annotations

import pytest
import torch
from tests import small_nets
from torch import nn

from edge_export.tracing.norm_folding import folded
from edge_training.mri_speech.mri_acoustic import MRI_ACOUSTIC_PRESETS, MriAcoustic
from edge_training.vocoder.hifigan import HifiGan


def normed(layer: nn.Module, norm: nn.Module) -> nn.Sequential:
    """A layer with a batch norm that has seen data and was trained a little."""
    torch.manual_seed(0)
    for tensor in (*norm.parameters(), *norm.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return nn.Sequential(layer, norm).eval()


@pytest.mark.parametrize(
    ("sequence", "shape"),
    [
        (normed(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5)), (2, 3, 9)),
        (normed(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)), (2, 4, 7, 7)),
        (normed(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3, affine=False)), (2, 2, 4, 4, 4)),
        (normed(nn.Linear(4, 3), nn.BatchNorm1d(3)), (5, 4)),
    ],
    ids=["conv1d", "grouped conv2d without bias", "conv3d, plain norm", "linear"],
)
def test_batch_norm_folds_into_the_layer_before(sequence: nn.Sequential, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    single = folded(sequence)
    assert [type(layer) for layer in single.children()] == [type(sequence[0])]
    torch.testing.assert_close(single(x), sequence(x), rtol=1e-5, atol=1e-6)
    assert len(sequence) == 2, "the module given is not touched"


def test_a_whole_net_has_no_batch_norm_left() -> None:
    net = small_nets.encoder().double()
    single = folded(net)
    assert not [layer for layer in single.modules() if isinstance(layer, nn.BatchNorm2d)]
    mel = torch.randn(3, 1, 80, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(single(mel), net(mel), rtol=1e-12, atol=1e-12)


def test_batch_norms_that_a_module_names_fold_and_its_own_rule_follows() -> None:
    torch.manual_seed(4)
    net = MriAcoustic(MRI_ACOUSTIC_PRESETS["tiny"]).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                assert tensor is not None
                tensor.data.uniform_(0.5, 1.5)
    single = folded(net)
    assert not [layer for layer in single.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert single.state_dict()["cnn.backbone.conv_stem.weight"].shape == (8, 1, 3, 3), "three equal channels"
    frames = torch.rand(2, 3, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(single(frames), net(frames), rtol=1e-4, atol=1e-5)


def test_weight_norm_folds() -> None:
    torch.manual_seed(1)
    trained = HifiGan(small_nets.CONFIG, weight_norm=True).eval()
    single = folded(trained)
    assert not [name for name in single.state_dict() if "parametrizations" in name]
    assert [name for name in trained.state_dict() if "parametrizations" in name], "not touched"
    mel = torch.randn(1, 20, 8)
    with torch.no_grad():
        torch.testing.assert_close(single(mel), trained(mel), rtol=1e-5, atol=1e-6)


def test_a_norm_that_follows_no_layer_stays() -> None:
    sequence = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4)).eval()
    assert len(list(folded(sequence).children())) == 2
