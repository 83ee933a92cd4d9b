"""Speech → features that move a talking head's mouth."""

from typing import TYPE_CHECKING

from edge_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from edge_runtime.pipelines.talking_head.pipeline import TalkingHead, TalkingHeadResult

__all__ = ["TalkingHead", "TalkingHeadResult"]

__getattr__, __dir__ = lazy_names(__name__, {"TalkingHead": "pipeline", "TalkingHeadResult": "pipeline"})
