"""The table of a trained decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.recorded_ecog import recorded
from torch import Tensor, nn

from edge_training.ecog_speech.analysis.quality import average_word, measure, table
from edge_training.ecog_speech.data import EcogData, EcogSource
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig
from edge_training.ecog_speech.speech_encoder import SpeechEncoder, SpeechEncoderConfig


class Teacher(nn.Module):
    """A decoder that says what the encoder says of one item."""

    def __init__(self, encoder: SpeechEncoder, spectrograms: dict[float, Tensor]) -> None:
        super().__init__()
        self.encoder, self.spectrograms = encoder, spectrograms

    def forward(self, ecog: Tensor) -> dict[str, Tensor]:
        spectrogram = self.spectrograms[float(ecog.sum())]
        return self.encoder.parameters_of(spectrogram, torch.ones(1, 1))


def test_a_decoder_that_is_its_teacher_has_no_errors() -> None:
    torch.manual_seed(0)
    data = EcogData(EcogSource(Path("."), test_trials=2), [recorded()])
    encoder = SpeechEncoder(SpeechEncoderConfig(bins=128)).eval()
    synthesizer = FormantSynthesizer(FormantSynthesizerConfig(bins=128, harmonics=4, filter_samples=8)).eval()
    items = [data.validation_item(clip) for clip in range(2)]
    known = {
        float(torch.from_numpy(i["ecog"][None]).sum()): torch.from_numpy(i["spectrogram"][None])
        for i in items
    }
    figures = measure(Teacher(encoder, known), encoder, synthesizer, data)
    assert set(figures) == {"all", "hear"}
    assert figures["all"].trials == 2
    for name in ("f0_hz", "formants_hz", "loudness_db"):
        value = getattr(figures["all"], name)
        assert np.isnan(value) or value == pytest.approx(0, abs=1e-4)
    assert -1 <= figures["all"].pcc <= 1
    lines = table(figures).splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:3] == ["task", "trials", "PCC"]


def test_the_average_word_is_of_the_training_trials() -> None:
    data = EcogData(EcogSource(Path("."), test_trials=3), [recorded()])
    assert np.allclose(average_word(data), data.recordings[0].spectrogram[120 - 32 : 120 + 96])
