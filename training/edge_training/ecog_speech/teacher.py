"""The frozen pair of the first stage: the encoder, which is the teacher, and the synthesizer."""

from __future__ import annotations

import math
from pathlib import Path

from edge_runtime.errors import CheckpointError
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig
from edge_training.ecog_speech.speech_encoder import Layout, SpeechEncoder, SpeechEncoderConfig
from edge_training.weights.configs import find_config, read_config
from edge_training.weights.reading import Checkpoint, load_checkpoint, open_checkpoint

ENCODER_FILE, SYNTHESIZER_FILE = "speech-encoder.safetensors", "formant-synthesizer.safetensors"
NETS = ("speech-encoder", "formant-synthesizer")
_PLACES = (".", "checkpoints/best", "checkpoints", "best")


def open_teacher(
    path: Path, *, bins: int, female: bool, weights: str | None = None, said: list[str] | None = None
) -> tuple[SpeechEncoder, FormantSynthesizer]:
    """Encoder and synthesizer in evaluation mode, without gradients.

    Args:
        path: the run of a first stage, its folder of weights, or a file of neural_speech_decoding
            (`model_epoch{n}.pth`).
        bins, female: of the data; they decide the configuration of such a file.
        weights: "ema", "live" or a name, of files with several sets.
        said: takes what was inferred.

    Raises:
        CheckpointError: no such files, or weights that fit no configuration.
    """
    if path.is_file():
        encoder, synthesizer = (open_checkpoint(path, net, weights) for net in NETS)
        settings = SpeechEncoderConfig(bins=bins, layout=_layout(encoder, female)), _told(synthesizer, bins)
    else:
        folder = next((path / place for place in _PLACES if (path / place / ENCODER_FILE).is_file()), None)
        if folder is None:
            raise CheckpointError(
                str(path),
                got=f"no {ENCODER_FILE}" if path.is_dir() else "no such folder or file",
                expected="a run of `edge-export train speech-encoder`, or a model_epoch file",
            )
        encoder, synthesizer = (
            open_checkpoint(folder / name, net, weights)
            for name, net in zip((ENCODER_FILE, SYNTHESIZER_FILE), NETS, strict=True)
        )
        first, second = (find_config(folder / name) for name in (ENCODER_FILE, SYNTHESIZER_FILE))
        if first is None or second is None:
            raise CheckpointError(
                str(folder), got="weights without their config", expected="JSON beside them"
            )
        settings = (
            SpeechEncoderConfig.from_json(read_config(first)),
            FormantSynthesizerConfig.from_json(read_config(second)),
        )
    pair = SpeechEncoder(settings[0]), FormantSynthesizer(settings[1])
    if said is not None:
        said += (*encoder.said, *synthesizer.said)
    load_checkpoint(pair[0], encoder, net=NETS[0])
    load_checkpoint(pair[1], synthesizer, net=NETS[1])
    for net in pair:
        net.eval().requires_grad_(requires_grad=False)
    return pair


def _layout(checkpoint: Checkpoint, female: bool) -> Layout:
    """The layout that the keys show; where they do not, that of the speaker's sex in the data."""
    stacks = sum(f"conv1_narrow.{place}.weight" in checkpoint.stored for place in (0, 3, 6, 9))
    told: dict[int, Layout] = {2: "female", 3: "male", 4: "male-large"}
    return told.get(stacks, "female" if female else "male")


def _told(checkpoint: Checkpoint, bins: int) -> FormantSynthesizerConfig:
    state = checkpoint.stored
    prototype = state.get("formant_masks.filter.0.x")
    return FormantSynthesizerConfig(
        bins=bins,
        learned_mask=prototype is not None,
        filter_samples=80 if prototype is None else math.prod(prototype.shape),
        dummy_formant="dummy_f" in state,
        background_from_data="bgnoise_amp" in state,
    )
