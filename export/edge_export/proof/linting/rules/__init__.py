"""The rules of `lint`, one module a family; importing this registers all of them."""

from edge_export.proof.linting.rules import layers, memory, onnx_runtimes, precision, shapes

__all__ = ["layers", "memory", "onnx_runtimes", "precision", "shapes"]
