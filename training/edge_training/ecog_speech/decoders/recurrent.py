"""ECoG decoder, recurrent: LSTM (or GRU) over the electrodes as they are, one linear layer, the head.

    ecog (B, 144, E) → LSTM, `layers` × `units`, both directions unless causal → rectifier → linear
                     → frames 8 … 135 → (classes, 128) = x_common

The published net takes those frames, so that with `causal` a speech frame sees ECoG up to 8 frames before
it. Wiring "streaming" takes the last 128: up to its own frame, and no later one. It takes any number of
frames. Wiring "stateful" is the same net for live use: it gives a frame for every frame that it is given,
and what it remembers goes in and out,

    hidden (layers, B, units)  state of the recurrent layers; an LSTM's cell besides
    history (B, classes, 2)    the last frames of x_common, which the head's convolutions reach back to

all zero at the start of a stream. After the first 16 frames `history` is set to zero once more: there the
window of the other wirings begins, and what is before it counts as zero.

Source: `ECoGMapping_RNN` of neural_speech_decoding; keys as there, `transform_initial_state` unused.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edge_training.ecog_speech.decoders.layers import Side, initialise
from edge_training.ecog_speech.decoders.prediction_head import PredictionHead
from edge_training.ecog_speech.decoders.resnet import Wiring
from edge_training.ecog_speech.parameters import FRAMES, PAST, Parameters

Cell = Literal["lstm", "gru"]
HEAD_REACH = 2  # frames that the head looks back
OFFSET = 8  # frames: which of the 144 the published net takes


class Recurrent(nn.Module):
    """The recurrent layers under the key `base_model`."""

    def __init__(
        self, electrodes: int, cell: Cell, units: int, layers: int, dropout: float, *, both: bool
    ) -> None:
        super().__init__()
        self.transform_initial_state = nn.Linear(electrodes, layers * units * (1 + both), bias=False)
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.rnn = kind(
            electrodes,
            units,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=both,
        )


class RecurrentDecoder(nn.Module):
    """ecog (B, 16 + T, E) → parameters over T frames; T 128 (any number when streaming)."""

    def __init__(
        self,
        electrodes: int,
        cell: Cell,
        *,
        units: int,
        layers: int,
        classes: int,
        dropout: float,
        side: Side,
        wiring: Wiring,
        db_loudness: bool = False,
    ) -> None:
        super().__init__()
        both = side == "both"
        self.frames = slice(PAST, None) if wiring != "published" else slice(OFFSET, OFFSET + FRAMES)
        self.base_model = Recurrent(electrodes, cell, units, layers, dropout, both=both)
        self.motion_projection = nn.Linear(units * (2 if both else 1), classes)
        self.prediction_head = PredictionHead(classes, side, db_loudness=db_loudness)
        initialise(self)
        self.prediction_head.quieten()

    def forward(self, ecog: Tensor) -> Parameters:
        """(B, 16 + T, E) → parameters by name, (B, rows, T) each."""
        states, _ = self.base_model.rnn(ecog)
        x = self.motion_projection(torch.relu(states))[:, self.frames]
        parameters: Parameters = self.prediction_head(x.transpose(1, 2))
        return parameters

    def step(
        self, ecog: Tensor, memory: tuple[Tensor, ...], history: Tensor
    ) -> tuple[Parameters, tuple[Tensor, ...], Tensor]:
        """Frames of a stream, and what is remembered of those before.

        Args:
            ecog: (B, T, E), any T from 1.
            memory: (layers, B, units): hidden state, and the cell of an LSTM.
            history: (B, classes, 2), the two frames of x_common before these.

        Returns:
            Parameters by name, (B, rows, T) each; memory and history after these frames.
        """
        given = memory if len(memory) > 1 else memory[0]
        states, after = self.base_model.rnn(ecog, given)
        new = self.motion_projection(torch.relu(states)).transpose(1, 2)
        x = torch.cat([history, new], 2)
        parameters: Parameters = {
            name: values[:, :, HEAD_REACH:] for name, values in self.prediction_head(x).items()
        }
        return parameters, after if isinstance(after, tuple) else (after,), x[:, :, -HEAD_REACH:]
