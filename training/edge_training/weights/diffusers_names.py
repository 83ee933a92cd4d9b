"""Names in older files of diffusers and transformers → those of their nets today, as their own loaders do it.

vae             mid_block.attentions.0.query, key, value, proj_attn → to_q, to_k, to_v, to_out.0 (2022)
text_encoder    embeddings.position_ids, the numbers 0 to 76, is a constant of the net now
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edge_training.weights.pickles import Stored

_ATTENTION = re.compile(r"((?:en|de)coder\.mid_block\.attentions\.\d+\.)(query|key|value|proj_attn)\.(.*)")
_TODAY = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_POSITIONS = "embeddings.position_ids"


def current_names(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """The weights by today's names; whatever is not of these nets stays as it is."""
    clip = "embeddings.token_embedding.weight" in stored
    return {_current(key): value for key, value in stored.items() if not (clip and key == _POSITIONS)}


def _current(key: str) -> str:
    match = _ATTENTION.fullmatch(key)
    return f"{match[1]}{_TODAY[match[2]]}.{match[3]}" if match else key
