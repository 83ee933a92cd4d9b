"""What ``edge-export data image-speech`` does: options that belong together, then the preparation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from edge_training.image_speech.preparation import Prepared

AnyPath = str | os.PathLike[str]


def write_image_speech_data(
    out: AnyPath,
    *,
    prompts: AnyPath | None = None,
    audio: AnyPath | None = None,
    tts: str | None = None,
    stretch: float = 2.0,
    plbert: AnyPath | None = None,
    phonemes: AnyPath | None = None,
    language: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    **drawing: Any,
) -> Prepared:
    """Prepare training data of image-speech into the folder ``out``.

    Args:
        out: see `edge_training.image_speech.preparation` for its files.
        prompts, audio, drawing: see `open_source` there.
        tts, stretch: see `Preparation` there.
        plbert: folder of a phoneme encoder; None: no embeddings.
        phonemes: a file of phonemes; None: espeak-ng's.
        language: of espeak-ng's phonemes.
        workers: processes; None: one for each processor.
        overwrite: replace an earlier result.

    Raises:
        ConfigError: options without the one that they belong to.
        EdgeError: whatever the preparation refuses.
    """
    from edge_export.progress import Progress
    from edge_training.image_speech.preparation import Preparation, open_source, prepare
    from edge_training.image_speech.speech import DEFAULT_COMMAND

    if plbert is None and not phonemes is language is None:
        raise ConfigError("phonemes and language", got="no plbert", expected="its folder with --plbert")
    if audio is not None and tts is not None:
        raise ConfigError("tts", got="beside recordings of --audio", expected="one of them")
    chosen = Preparation(tts=DEFAULT_COMMAND if tts is None else tts, stretch=stretch)
    source = open_source(prompts, audio, **drawing)
    embedder = None
    if plbert is not None:
        from edge_training.image_speech.plbert import Embedder, open_plbert

        given = Path(phonemes) if phonemes is not None else None
        embedder = Embedder(open_plbert(plbert), language or "en-us", given)
    with Progress(steps=len(source.prompts)) as progress:
        return prepare(
            source,
            out,
            chosen,
            embedder=embedder,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
