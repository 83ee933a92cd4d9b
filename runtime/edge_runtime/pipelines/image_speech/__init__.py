"""Two prompts → one picture that is also a spectrogram → speech."""

from typing import TYPE_CHECKING

from edge_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech, ImageSpeechResult

__all__ = ["ImageSpeech", "ImageSpeechResult"]

__getattr__, __dir__ = lazy_names(__name__, {"ImageSpeech": "pipeline", "ImageSpeechResult": "pipeline"})
