"""The pipeline, its declaration and the functions that write its results."""

from edge_runtime.pipelines.image_speech.options import DECLARATION
from edge_runtime.pipelines.image_speech.pack import write_pack
from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech
from edge_runtime.pipelines.image_speech.result import write_result
from edge_runtime.pipelines.system import System

SYSTEM = System(DECLARATION, ImageSpeech, write_result, write_pack)
