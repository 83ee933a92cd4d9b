"""A PyTorch module → a Core AI asset, by way of its ONNX graph."""
