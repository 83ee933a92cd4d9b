"""Module names from before the present layout, see `edge_runtime.former_names`; they work until 0.2."""

from __future__ import annotations

# former name → name, below the package
FORMER = {
    "cli_analysis": "cli.analysis",
    "cli_data": "cli.data",
    "cli_options": "cli.options",
    "onnx_fold": "to_onnx.constants",
    "onnx_half": "to_onnx.half",
    "rows": "to_onnx.cpu_form.rows",
    "polyphase": "to_onnx.cpu_form.polyphase",
    "coreml_package": "to_coreml.package",
    "folding": "tracing.norm_folding",
    "norm_folding": "tracing.norm_folding",
    "half_weights": "tracing.half_weights",
    "apple_metadata": "to_coreml.apple_metadata",
    "chunks": "convert.chunks",
    "parity": "proof.verify",
    "reference": "proof.reference",
    "mri_features": "proof.mri_features",
    "onnx_reference": "backends.onnx_reference",
    "axes": "catalog.dynamic_axes",
    "random_weights": "examples.random_weights",
    "example_speech": "examples.speech",
    "example_video": "examples.video",
    "vocoder_quality": "quality.vocoder",
    "mri_speech_quality": "quality.mri_speech",
}
