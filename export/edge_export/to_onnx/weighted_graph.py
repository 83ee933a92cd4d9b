"""An ONNX graph and, separately, its weights, which stay in torch's memory until the file is written.

A protobuf holds at most 2 GiB, and building one costs a copy of every weight. So the tracing exporter gives
only the graph, in which weights are inputs after the net's own; shape inference, folding and the float16 form
work on that. When it is written, the weights become initializers: inside of the file, or, where they are too
large or the caller wants it, in one file beside it ("external data"), one tensor after the other, so that a
net of several gigabytes is written with one of its tensors in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

LARGEST_FILE = (
    2**31 - 2**24
)  # bytes of weights in one protobuf, which ends at 2 GiB; the graph needs room too
DATA_SUFFIX = ".data"  # model.onnx.data beside model.onnx
PAGE = 4096  # bytes; where a tensor begins, so that runtimes can map it into memory
SMALLEST_EXTERNAL = 1024  # bytes; smaller ones stay in the graph, as shapes among them are read early
LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class WeightedGraph:
    """A model whose last inputs are weights.

    Args:
        model: the graph; input values with a name in `weights` have the type that is written.
        weights: name → the value, of the module itself; converted where its input is float16.
    """

    model: ModelProto
    weights: Mapping[str, torch.Tensor]

    @property
    def inputs(self) -> list[ValueInfoProto]:
        """The net's own inputs."""
        return [value for value in self.model.graph.input if value.name not in self.weights]

    @property
    def bytes(self) -> int:
        """Of all weights, as they are written."""
        return sum(_size(value, self.weights[value.name]) for value in self._weight_inputs())

    def whole(self) -> ModelProto:
        """The model with its weights inside: for nets below 2 GiB."""
        model = self._without_weight_inputs()
        for value in self._weight_inputs():
            array = _array(value, self.weights[value.name])
            model.graph.initializer.append(_tensor(value, array, array.tobytes()))
        return model

    def write(
        self, path: str | os.PathLike[str], *, external: bool = False, largest_file: int = LARGEST_FILE
    ) -> bool:
        """Write the file, and its weights beside it where they are too large or `external` asks for it.

        Args:
            path: of the graph; weights beside it go into ``PATH.data``.
            external: even if all fits into one file.
            largest_file: bytes of graph and weights above which the weights go beside it.

        Returns:
            Whether ``PATH.data`` was written.
        """
        beside = external or self.bytes + self.model.ByteSize() > largest_file
        if beside:
            model = self._without_weight_inputs()
            with open(f"{path}{DATA_SUFFIX}", "wb") as data:
                for value in self._weight_inputs():
                    model.graph.initializer.append(_stored(value, self.weights[value.name], data))
        else:
            model = self.whole()
        Path(path).write_bytes(model.SerializeToString(deterministic=True))
        del model
        onnx.checker.check_model(str(path), full_check=True)
        return beside

    def _weight_inputs(self) -> list[ValueInfoProto]:
        return [value for value in self.model.graph.input if value.name in self.weights]

    def _without_weight_inputs(self) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(self.model)
        del model.graph.input[:]
        model.graph.input.extend(self.inputs)
        return model


def _dtype(value: ValueInfoProto) -> np.dtype[Any]:
    return np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _size(value: ValueInfoProto, weight: torch.Tensor) -> int:
    return weight.numel() * _dtype(value).itemsize


def _array(value: ValueInfoProto, weight: torch.Tensor) -> NDArray[Any]:
    """The weight in the type of its input, little-endian; beyond float16's range it saturates."""
    array = weight.detach().contiguous().numpy()
    dtype = _dtype(value)
    if dtype == np.float16 and array.dtype != np.float16:
        array = np.clip(array, -LARGEST_HALF, LARGEST_HALF)
    return array.astype(dtype.newbyteorder("<"), copy=False)


def _tensor(value: ValueInfoProto, array: NDArray[Any], content: bytes | None) -> TensorProto:
    tensor = TensorProto(name=value.name, data_type=value.type.tensor_type.elem_type, dims=array.shape)
    if content is not None:
        tensor.raw_data = content
    return tensor


def _stored(value: ValueInfoProto, weight: torch.Tensor, data: BinaryIO) -> TensorProto:
    """The initializer of a weight whose values are appended to the file beside the graph."""
    array = _array(value, weight)
    if array.nbytes < SMALLEST_EXTERNAL:
        return _tensor(value, array, array.tobytes())
    tensor = _tensor(value, array, None)
    data.write(bytes(-data.tell() % PAGE))
    entries = {"location": Path(data.name).name, "offset": data.tell(), "length": array.nbytes}
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in entries.items():
        tensor.external_data.add(key=key, value=str(entry))
    array.tofile(data)
    return tensor
