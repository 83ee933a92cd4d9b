"""From a checkpoint to a proved bundle: ONNX, Core ML, manifest and reference arrays."""
