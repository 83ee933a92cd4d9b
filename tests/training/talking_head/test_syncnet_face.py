"""The face tower against the description of Wav2Lip's expert."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_runtime.errors import ConfigError
from edge_training.talking_head.syncnet_face import SyncNetFace, SyncNetFaceConfig

# inputs, outputs, kernel, stride, padding, residual; and the map after it, height × width
PUBLISHED = [
    (15, 32, 7, (1, 1), 3, False, (48, 96)),
    (32, 64, 5, (1, 2), 1, False, (46, 47)),
    *[(64, 64, 3, (1, 1), 1, True, (46, 47))] * 2,
    (64, 128, 3, (2, 2), 1, False, (23, 24)),
    *[(128, 128, 3, (1, 1), 1, True, (23, 24))] * 3,
    (128, 256, 3, (2, 2), 1, False, (12, 12)),
    *[(256, 256, 3, (1, 1), 1, True, (12, 12))] * 2,
    (256, 512, 3, (2, 2), 1, False, (6, 6)),
    *[(512, 512, 3, (1, 1), 1, True, (6, 6))] * 2,
    (512, 512, 3, (2, 2), 1, False, (3, 3)),
    (512, 512, 3, (1, 1), 0, False, (1, 1)),
    (512, 512, 1, (1, 1), 0, False, (1, 1)),
]


def test_the_blocks_are_the_published_ones() -> None:
    net = SyncNetFace().eval()
    maps: list[tuple[int, ...]] = []
    for block in net.face_encoder:
        block.register_forward_hook(lambda _net, _input, output: maps.append(tuple(output.shape[2:])))
    with torch.no_grad():
        features = net(torch.rand(2, 15, 48, 96))
    assert features.shape == (2, 512)
    assert (features >= 0).all()
    rows: list[tuple[object, ...]] = []
    for block, shape in zip(net.face_encoder, maps, strict=True):
        conv, norm = block.conv_block  # type: ignore[misc]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        rows.append(
            (conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride, conv.padding[0],
             block.residual, shape)
        )  # fmt: skip
    assert rows == PUBLISHED


def test_a_narrow_tower_ends_in_as_many_features() -> None:
    net = SyncNetFace(SyncNetFaceConfig(width=1)).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 15, 48, 96)).shape == (1, 512)
    assert "face_encoder.16.conv_block.1.running_var" in net.state_dict()


def test_config_goes_through_json() -> None:
    config = SyncNetFaceConfig(width=8)
    assert SyncNetFaceConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("width", [0, 129, 2.0, True, "8"])
def test_impossible_widths(width: object) -> None:
    with pytest.raises(ConfigError, match=r"width: got .*, expected a whole number in 1 … 128"):
        SyncNetFaceConfig.from_json({"width": width})


def test_unknown_entries() -> None:
    with pytest.raises(ConfigError, match=r"entry 'depth': got an unknown entry, expected width"):
        SyncNetFaceConfig.from_json({"depth": 3})
