"""One vocabulary for operations: what torch, ONNX and MIL call them → a kind.

Kinds serve only to pair operations of the same module, so names that no table holds are used as they are, in
lower case and without the marks of Python's operators.
"""

from __future__ import annotations

from collections.abc import Mapping

COPIES = "copy"  # moves or converts values; an error there is not arithmetic

_TORCH: Mapping[str, str] = {
    "conv1d": "conv", "conv2d": "conv", "conv3d": "conv",
    "conv_transpose1d": "conv_transpose", "conv_transpose2d": "conv_transpose",
    "conv_transpose3d": "conv_transpose",
    "truediv": "div", "rtruediv": "div", "radd": "add", "iadd": "add", "rmul": "mul", "imul": "mul",
    "rsub": "sub", "isub": "sub", "itruediv": "div", "clip": "clamp", "clamp_min": "clamp",
    "clamp_max": "clamp", "hardtanh": "clamp", "minimum": "min", "maximum": "max", "bmm": "matmul",
    "mm": "matmul", "rmatmul": "matmul", "einsum": "matmul", "view": "reshape", "flatten": "reshape",
    "unflatten": "reshape", "squeeze": "reshape", "unsqueeze": "reshape", "permute": "transpose",
    "t": "transpose", "movedim": "transpose", "getitem": "slice", "narrow": "slice", "chunk": "split",
    "concat": "cat",
    "concatenate": "cat", "stack": "cat", "interpolate": "resize", "upsample": "resize",
    "scaled_dot_product_attention": "attention", "contiguous": COPIES, "to": COPIES, "float": COPIES,
    "half": COPIES, "clone": COPIES, "detach": COPIES, "rpow": "pow",
}  # fmt: skip
_ONNX: Mapping[str, str] = {
    "Conv": "conv", "ConvTranspose": "conv_transpose", "LeakyRelu": "leaky_relu", "Clip": "clamp",
    "Gemm": "linear", "LayerNormalization": "layer_norm", "InstanceNormalization": "instance_norm",
    "BatchNormalization": "batch_norm", "GroupNormalization": "group_norm", "Concat": "cat",
    "Flatten": "reshape", "Squeeze": "reshape", "Unsqueeze": "reshape", "ReduceMean": "mean",
    "ReduceSum": "sum", "ReduceMax": "amax", "ReduceL2": "norm", "Cast": COPIES,
    "GlobalAveragePool": "adaptive_avg_pool2d",
    "Identity": COPIES, "LogSoftmax": "log_softmax", "HardSwish": "hardswish", "PRelu": "prelu",
    "AveragePool": "avg_pool", "MaxPool": "max_pool", "CumSum": "cumsum", "GatherElements": "gather",
}  # fmt: skip
_MIL: Mapping[str, str] = {
    "real_div": "div", "floor_div": "floor_divide", "clip": "clamp", "concat": "cat", "stack": "cat",
    "expand_dims": "reshape", "squeeze": "reshape", "slice_by_index": "slice", "slice_by_size": "slice",
    "reduce_mean": "mean", "reduce_sum": "sum", "reduce_max": "amax", "cast": COPIES, "identity": COPIES,
    "select": "where", "upsample_bilinear": "resize", "upsample_nearest_neighbor": "resize",
    "resize_bilinear": "resize", "matmul": "matmul", "maximum": "max", "minimum": "min",
    "inverse": "reciprocal",
    "gather_along_axis": "gather", "reduce_l2_norm": "norm", "einsum": "matmul",
}  # fmt: skip


def of_torch(name: str) -> str:
    """Of a function that torch calls by this name.

    >>> of_torch("conv1d"), of_torch("__rsub__"), of_torch("leaky_relu_")
    ('conv', 'sub', 'leaky_relu')
    """
    plain = name.strip("_")
    return _TORCH.get(plain, plain)


def of_onnx(op_type: str) -> str:
    """Of an ONNX operator."""
    return _ONNX.get(op_type, op_type.lower())


def of_mil(op_type: str) -> str:
    """Of an operation of a Core ML program."""
    return _MIL.get(op_type, op_type)
