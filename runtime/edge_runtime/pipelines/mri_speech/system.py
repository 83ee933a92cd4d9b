"""The pipeline, its declaration and the functions that write its results."""

from edge_runtime.pipelines.mri_speech.options import DECLARATION
from edge_runtime.pipelines.mri_speech.pack import write_pack
from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech
from edge_runtime.pipelines.mri_speech.result import write_result
from edge_runtime.pipelines.system import System

SYSTEM = System(DECLARATION, MriSpeech, write_result, write_pack)
