"""The pipeline, its declaration and the functions that write its results."""

from edge_runtime.pipelines.ecog_speech.options import DECLARATION
from edge_runtime.pipelines.ecog_speech.pack import write_pack
from edge_runtime.pipelines.ecog_speech.pipeline import EcogSpeech
from edge_runtime.pipelines.ecog_speech.result import write_result
from edge_runtime.pipelines.system import System

SYSTEM = System(DECLARATION, EcogSpeech, write_result, write_pack)
