"""The pipeline, its declaration and the functions that write its results."""

from edge_runtime.pipelines.system import System
from edge_runtime.pipelines.talking_head.options import DECLARATION
from edge_runtime.pipelines.talking_head.pack import write_pack
from edge_runtime.pipelines.talking_head.pipeline import TalkingHead
from edge_runtime.pipelines.talking_head.result import write_result

SYSTEM = System(DECLARATION, TalkingHead, write_result, write_pack)
