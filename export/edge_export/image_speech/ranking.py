"""Scores pictures that sound: how near a picture is to its prompt by CLIP, and the sound to its by CLAP.

Both models come from local folders in the layout of transformers (config.json, weights, tokenizer and
preprocessor_config.json), and nothing is downloaded. A similarity is the cosine of two embeddings. A picture
is wider than CLIP's square: its squares from left to right are embedded, and the cosines averaged. CLAP hears
the sound at the rate of its preprocessor.

Sources: Radford and others, 2021 (CLIP); Wu and others, Large-Scale Contrastive Language-Audio Pretraining,
2023 (CLAP).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import BackendError, InputError
from edge_runtime.store.reading import find_object

AnyPath = str | os.PathLike[str]
Score = Callable[[NDArray[np.uint8], NDArray[np.float32], str, str], Mapping[str, float]]

RATE = 16000  # Hz, of the sound


def open_scorer(clip: AnyPath | None, clap: AnyPath | None) -> Score:
    """What scores (picture (H, W, 3), samples, image prompt, audio prompt), by the models in two folders.

    Returns:
        a function that gives the similarities ``clip`` and ``clap``, those whose folder is given.

    Raises:
        InputError: a folder that holds no such model.
        BackendError: transformers is not installed.
    """
    picture = None if clip is None else _Clip(Path(clip))
    sound = None if clap is None else _Clap(Path(clap))

    def score(
        seen: NDArray[np.uint8], heard: NDArray[np.float32], image_prompt: str, audio_prompt: str
    ) -> dict[str, float]:
        found = {} if picture is None else {"clip": picture(seen, image_prompt)}
        return found if sound is None else found | {"clap": sound(heard, audio_prompt)}

    return score


class _Clip:
    """Similarity of a picture and a text."""

    def __init__(self, folder: Path) -> None:
        library = _transformers()
        _check_kind(folder, "clip", "--clip")
        self._model, self._tokenizer = _open(folder, library.CLIPModel, library.CLIPTokenizer, "--clip")
        self._prepare = _loaded(folder, _image_processor(), "--clip")

    def __call__(self, picture: NDArray[np.uint8], text: str) -> float:
        import torch

        side = picture.shape[0]
        starts = range(0, max(1, picture.shape[1] - side + 1), side)
        squares = [picture[:, start : start + side] for start in starts]
        with torch.inference_mode():
            seen = self._model.get_image_features(**self._prepare(squares, return_tensors="pt"))
            said = self._model.get_text_features(**_tokens(self._tokenizer, text))
        return _cosine(seen, said)


class _Clap:
    """Similarity of a sound and a text."""

    def __init__(self, folder: Path) -> None:
        library = _transformers()
        _check_kind(folder, "clap", "--clap")
        self._model, self._tokenizer = _open(folder, library.ClapModel, library.AutoTokenizer, "--clap")
        self._prepare = _loaded(folder, library.ClapFeatureExtractor, "--clap")

    def __call__(self, samples: NDArray[np.float32], text: str) -> float:
        import torch

        rate = int(self._prepare.sampling_rate)
        sound = resample(samples, RATE, rate)
        features = self._prepare(sound, sampling_rate=rate, return_tensors="pt")
        with torch.inference_mode():
            heard = self._model.get_audio_features(**features)
            said = self._model.get_text_features(**_tokens(self._tokenizer, text))
        return _cosine(heard, said)


def _tokens(tokenizer: Any, text: str) -> Any:
    return tokenizer([text], padding=True, truncation=True, return_tensors="pt")


def _cosine(several: Any, one: Any) -> float:
    """Mean of the cosines of rows (n, dim) with a row (1, dim)."""
    first, second = (_embedding(each).double().numpy() for each in (several, one))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return float((first @ second.T).mean())


def _embedding(given: Any) -> Any:
    """The tensor: transformers 5 wraps it into an output, 4 does not."""
    return given if not hasattr(given, "pooler_output") else given.pooler_output


def _open(folder: Path, model: Any, tokenizer: Any, option: str) -> tuple[Any, Any]:
    return _loaded(folder, model, option).eval(), _loaded(folder, tokenizer, option)


def _loaded(folder: Path, kind: Any, option: str) -> Any:
    try:
        return kind.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise InputError(
            f"{option} {folder}",
            got=f"no readable {kind.__name__} («{str(error).splitlines()[0]:.100}»)",
            expected="a model that transformers' save_pretrained wrote, its tokenizer and preprocessor too",
        ) from error


def _check_kind(folder: Path, kind: str, option: str) -> None:
    found = find_object(folder / "config.json").get("model_type")
    if found != kind:
        raise InputError(
            f"{option} {folder}",
            got=f"a model of type {found}" if found else "no config.json of a model",
            expected=f"a folder of {kind}, in the layout of transformers",
        )


def _image_processor() -> Any:
    try:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    except ImportError:  # before transformers 5
        from transformers import CLIPImageProcessor

        return CLIPImageProcessor
    return CLIPImageProcessorPil


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise BackendError(
            "ranking with CLIP and CLAP",
            got=f"no module named {error.name}",
            expected="transformers",
            cause="pip install 'edge-export[image-speech]'",
        ) from error
    return transformers
