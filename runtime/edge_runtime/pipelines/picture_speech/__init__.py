"""A picture that is a spectrogram → speech."""

from typing import TYPE_CHECKING

from edge_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from edge_runtime.pipelines.picture_speech.pipeline import PictureSpeech, PictureSpeechResult

__all__ = ["PictureSpeech", "PictureSpeechResult"]

__getattr__, __dir__ = lazy_names(__name__, {"PictureSpeech": "pipeline", "PictureSpeechResult": "pipeline"})
