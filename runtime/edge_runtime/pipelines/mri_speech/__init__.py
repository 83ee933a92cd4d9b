"""Real-time MRI video of the vocal tract → speech."""

from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech

__all__ = ["MriSpeech"]
