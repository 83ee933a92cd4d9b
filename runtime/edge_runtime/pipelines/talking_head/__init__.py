"""Speech → features that move a talking head's mouth."""

from edge_runtime.pipelines.talking_head.pipeline import TalkingHead, TalkingHeadResult

__all__ = ["TalkingHead", "TalkingHeadResult"]
