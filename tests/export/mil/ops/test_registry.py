"""The table of operations."""

from __future__ import annotations

import pytest

from edge_export.mil import supported_operations
from edge_export.mil.ops.registry import add, as_list, kernel

# what the project's nets need, in fp32 and fp16
NEEDED = """
    add avg_pool batch_norm cast clip concat const conv conv_transpose exp expand_dims gather gelu gru
    instance_norm layer_norm leaky_relu linear lstm matmul max_pool mul pad reduce_mean reduce_sum relu
    reshape scaled_dot_product_attention sigmoid silu slice_by_index softmax split squeeze stack tanh
    transpose upsample_bilinear upsample_nearest_neighbor
"""


def test_knows_what_the_nets_need() -> None:
    assert set(NEEDED.split()) <= set(supported_operations())


def test_a_kernels_parameters_are_the_operations_inputs() -> None:
    reshape = kernel("reshape")
    assert reshape is not None
    assert reshape.parameters == {"x", "shape"}
    assert reshape.wants_call


def test_an_operation_has_one_kernel() -> None:
    with pytest.raises(ValueError, match="two kernels for relu"):
        add("relu", lambda x: x)


def test_a_tuple_of_one_becomes_a_list() -> None:
    assert as_list(3) == [3]
    assert as_list([3, 4]) == [3, 4]
