"""The pipeline, its declaration and the functions that write its results."""

from edge_runtime.pipelines.picture_speech.options import DECLARATION
from edge_runtime.pipelines.picture_speech.pack import write_pack
from edge_runtime.pipelines.picture_speech.pipeline import PictureSpeech
from edge_runtime.pipelines.picture_speech.result import write_result
from edge_runtime.pipelines.system import System

SYSTEM = System(DECLARATION, PictureSpeech, write_result, write_pack)
