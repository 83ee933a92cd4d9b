"""The pipeline, its declaration and the functions that write its results."""

from edge_runtime.pipelines.system import System
from edge_runtime.pipelines.vocoder.options import DECLARATION
from edge_runtime.pipelines.vocoder.pack import write_pack
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.pipelines.vocoder.result import write_result

SYSTEM = System(DECLARATION, Vocoder, write_result, write_pack)
