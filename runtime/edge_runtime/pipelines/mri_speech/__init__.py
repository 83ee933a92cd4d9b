"""Real-time MRI video of the vocal tract → speech."""

from typing import TYPE_CHECKING

from edge_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech, MriSpeechResult

__all__ = ["MriSpeech", "MriSpeechResult"]

__getattr__, __dir__ = lazy_names(__name__, {"MriSpeech": "pipeline", "MriSpeechResult": "pipeline"})
