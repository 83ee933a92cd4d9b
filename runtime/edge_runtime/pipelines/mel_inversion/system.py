"""The pipeline, its declaration and the functions that write its results."""

from edge_runtime.pipelines.mel_inversion.options import DECLARATION
from edge_runtime.pipelines.mel_inversion.pack import write_pack
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
from edge_runtime.pipelines.mel_inversion.result import write_result
from edge_runtime.pipelines.system import System

SYSTEM = System(DECLARATION, MelInversion, write_result, write_pack)
