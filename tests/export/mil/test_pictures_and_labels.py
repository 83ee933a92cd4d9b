"""Pictures in and out, classifiers, several functions, packed sequences, as coremltools saves them."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edge_export.mil import Program
from edge_runtime.errors import ConfigError, InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def left_to_the_collector() -> Iterator[None]:
    """A converted model leaves temporary folders to the garbage collector."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


def convert(net: nn.Module, example: Any, inputs: list[Any], **options: Any) -> Any:
    import coremltools as ct

    options = {"minimum_deployment_target": ct.target.iOS16, "skip_model_load": True} | options
    traced = torch.jit.trace(net.eval(), example)  # type: ignore[no-untyped-call]
    return ct.convert(traced, inputs=inputs, compute_precision=ct.precision.FLOAT32, **options)


class Weighted(nn.Module):
    """Each colour by a weight of its own, so that a swap of channels shows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.tensor([0.25, 0.5, 1.0]).reshape(1, 3, 1, 1)


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_a_picture_comes_in_the_order_of_the_package(colour: str, tmp_path: Path) -> None:
    import coremltools as ct

    image = ct.ImageType("x", (1, 3, 6, 8), scale=1 / 255, bias=[-0.1, -0.2, -0.3], color_layout=colour)
    convert(Weighted(), torch.zeros(1, 3, 6, 8), [image]).save(str(tmp_path / "m.mlpackage"))
    program = Program.open(tmp_path / "m.mlpackage")
    (result,) = program.run({"x": PICTURE}).values()
    channels = PICTURE[..., ::-1] if colour == "BGR" else PICTURE
    numbers = np.moveaxis(channels, -1, 0) / 255 + np.reshape([-0.1, -0.2, -0.3], (3, 1, 1))
    expected = numbers * np.reshape([0.25, 0.5, 1.0], (3, 1, 1))
    np.testing.assert_allclose(result[0], expected, atol=1e-6)
    # the program's own array is taken as well
    (again,) = program.run({"x": np.moveaxis(channels, -1, 0)[None]}).values()
    np.testing.assert_array_equal(again, result)


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_a_picture_comes_out_as_bytes(colour: str, tmp_path: Path) -> None:
    import coremltools as ct

    image = ct.ImageType("x", (1, 3, 6, 8), color_layout=colour)
    outputs = [ct.ImageType("y", color_layout=colour)]
    model = convert(Weighted(), torch.zeros(1, 3, 6, 8), [image], outputs=outputs)
    model.save(str(tmp_path / "m.mlpackage"))
    result = Program.open(tmp_path / "m.mlpackage").run({"x": PICTURE})["y"]
    weights = [1.0, 0.5, 0.25] if colour == "BGR" else [0.25, 0.5, 1.0]
    np.testing.assert_array_equal(result, np.rint(PICTURE * weights).astype(np.uint8))


def test_grey_pictures_and_their_sizes(tmp_path: Path) -> None:
    import coremltools as ct

    sizes = ct.EnumeratedShapes([(1, 1, 6, 8), (1, 1, 12, 8)])
    image = ct.ImageType("x", sizes, color_layout=ct.colorlayout.GRAYSCALE)
    convert(nn.ReLU(), torch.zeros(1, 1, 6, 8), [image]).save(str(tmp_path / "m.mlpackage"))
    program = Program.open(tmp_path / "m.mlpackage")
    tall = np.vstack([PICTURE[..., 0]] * 2)
    (result,) = program.run({"x": tall}).values()
    np.testing.assert_array_equal(result[0, 0], tall)
    with pytest.raises(
        InputError, match=r"input x: got shape \(1, 1, 8, 6\), expected a picture 6 × 8 or 12 × 8"
    ):
        program.run({"x": PICTURE[..., 0].T})
    words = (
        r"got float64 of shape \(6, 8\), expected a picture .*uint8, grey.; multiply values in 0 to 1 by 255"
    )
    with pytest.raises(InputError, match=words):
        program.run({"x": PICTURE[..., 0] / 255})
    with pytest.raises(InputError, match=r"got uint8 of shape \(6, 8, 3\)"):
        program.run({"x": PICTURE})


@pytest.mark.parametrize("labels", [["one", "two", "three"], [7, 8, 9]])
def test_a_classifier_gives_its_label_and_probabilities(labels: list[Any], tmp_path: Path) -> None:
    import coremltools as ct

    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)).eval()
    x = torch.randn(1, 4)
    config = ct.ClassifierConfig(labels, predicted_feature_name="label")
    model = convert(net, x, [ct.TensorType("x", (1, 4))], classifier_config=config)
    model.save(str(tmp_path / "m.mlpackage"))
    results = Program.open(tmp_path / "m.mlpackage").run({"x": x.numpy()})
    expected = net(x)[0].tolist()
    label = results.pop("label")
    assert label == labels[int(np.argmax(expected))]
    (probabilities,) = results.values()
    assert probabilities == pytest.approx(dict(zip(labels, expected, strict=True)), abs=1e-6)


def test_one_of_several_functions(tmp_path: Path) -> None:
    import coremltools as ct

    for name, net in (("double", nn.Linear(3, 3)), ("other", nn.Sequential(nn.Linear(3, 3), nn.ReLU()))):
        target = {"minimum_deployment_target": ct.target.iOS18}
        model = convert(net, torch.zeros(1, 3), [ct.TensorType("x", (1, 3))], **target)
        model.save(str(tmp_path / f"{name}.mlpackage"))
        torch.save(net.state_dict(), tmp_path / f"{name}.pt")
    joined = ct.utils.MultiFunctionDescriptor()
    for name in ("double", "other"):
        joined.add_function(str(tmp_path / f"{name}.mlpackage"), "main", name)
    joined.default_function_name = "other"
    ct.utils.save_multifunction(joined, str(tmp_path / "both.mlpackage"))
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    both = tmp_path / "both.mlpackage"
    assert Program.open(both).functions == ("double", "other")
    alone = {name: Program.open(tmp_path / f"{name}.mlpackage").run({"x": x}) for name in ("double", "other")}
    for function, name in (("double", "double"), ("other", "other"), (None, "other")):
        (got,), (expected,) = Program.open(both, function).run({"x": x}).values(), alone[name].values()
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(
        ConfigError, match=r"both.mlpackage: function: got third, expected one of double, other"
    ):
        Program.open(both, "third")


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, 1)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        out, _ = self.lstm(pack_padded_sequence(x, lengths))
        return pad_packed_sequence(out)[0]


def test_a_packed_sequence_takes_the_first_rows_of_its_state(tmp_path: Path) -> None:
    """The converter makes an initial state of as many rows as steps."""
    import coremltools as ct

    net, x = Packed().eval(), torch.randn(10, 3, 4)
    lengths = torch.tensor([10, 5, 1], dtype=torch.int32)
    inputs = [ct.TensorType("x", x.shape), ct.TensorType("n", lengths.shape, dtype=np.int32)]
    convert(net, (x, lengths), inputs).save(str(tmp_path / "m.mlpackage"))
    program = Program.open(tmp_path / "m.mlpackage")
    (result,) = program.run({"x": x.numpy(), "n": lengths.numpy()}).values()
    np.testing.assert_allclose(result, net(x, lengths).detach(), atol=1e-6)
