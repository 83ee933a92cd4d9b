"""Losses for audio-visual synchrony: which of N mel windows belongs to which of N mouth windows.

Both towers end in a ReLU, so cosines lie in 0 … 1. Over the matrix s of all pairs (face i, audio j):

    bce       ½ mean over i of −ln s_ii  +  ½ mean over wrong pairs of −ln(1 − s_ij)
    infonce   ½ mean over i of [−ln softmax_j(s_ij / τ)_i  −  ln softmax_j(s_ji / τ)_i]

`bce` is SyncNet's loss as Wav2Lip trains it (Prajwal and others 2020): there each face is paired at random
either with its own audio or with that of another window of the same clip; here the mean over all such pairs
is taken, which costs the same and varies less. On other data than Wav2Lip's it is known to stay at
ln 2 = 0.69 for a long time (both towers constant). `infonce` (van den Oord and others 2018) does not: its
gradients tell right pairs from wrong ones even where the similarity is constant.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edge_runtime.errors import InputError

LEAST = 1e-6  # smallest cosine, and smallest distance from 1, before the logarithm


def cosines(face: Tensor, audio: Tensor) -> Tensor:
    """(N, D) and (M, D) features → (N, M) float32 cosines; those of an all-zero row are 0."""
    with torch.autocast(face.device.type, enabled=False):  # divided by τ later: no half precision
        return F.normalize(face.float(), dim=1) @ F.normalize(audio.float(), dim=1).T


def bce_loss(similarity: Tensor, clips: Tensor, other_clips: float = 0.0) -> Tensor:
    """Scalar: binary cross entropy over right and wrong pairs, with half of the weight each.

    Args:
        similarity: (N, N) cosines, right pairs on the diagonal.
        clips: (N,) number of the clip that each window belongs to.
        other_clips: share of wrong pairs from other clips, 0 … 1; 0 as in Wav2Lip.

    Raises:
        InputError: the batch has no wrong pairs of a kind that is needed.
    """
    same = clips[:, None] == clips[None, :]
    own = torch.eye(len(clips), dtype=torch.bool, device=clips.device)
    s = similarity.clamp(LEAST, 1 - LEAST)
    loss = -0.5 * s.diagonal().log().mean()
    for share, wrong, where in (
        (1 - other_clips, same & ~own, "same clip"),
        (other_clips, ~same, "other clips"),
    ):
        if share > 0:
            if not wrong.any():
                raise InputError("batch", got="no wrong pairs", expected=f"some windows of the {where}")
            loss = loss - 0.5 * share * (1 - s[wrong]).log().mean()
    return loss


def infonce_loss(similarity: Tensor, temperature: float) -> Tensor:
    """Scalar: cross entropy of the right partner among all, face → audio and audio → face.

    Args:
        similarity: (N, N) cosines, right pairs on the diagonal.
        temperature: τ; the smaller, the more weight the most similar wrong pairs have.
    """
    logits = similarity / temperature
    right = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right))
