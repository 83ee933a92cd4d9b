"""Module → ONNX."""
