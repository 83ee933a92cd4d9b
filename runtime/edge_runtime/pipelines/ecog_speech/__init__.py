"""ECoG → speech parameters → speech."""

from typing import TYPE_CHECKING

from edge_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from edge_runtime.pipelines.ecog_speech.pipeline import EcogSpeech, EcogSpeechResult
    from edge_runtime.pipelines.ecog_speech.streaming import StreamingDecoder

__all__ = ["EcogSpeech", "EcogSpeechResult", "StreamingDecoder"]

__getattr__, __dir__ = lazy_names(
    __name__, {"EcogSpeech": "pipeline", "EcogSpeechResult": "pipeline", "StreamingDecoder": "streaming"}
)
