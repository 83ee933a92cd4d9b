"""Phoneme embeddings: one vector for each sentence, from a phoneme-level BERT (PL-BERT).

    FOLDER/config.yml     model_params: of transformers' Albert; dataset_params: word_separator (an id),
                          token_maps (a pickle beside it: symbol → id)
    FOLDER/step_*.t7      weights, under `net` or `state_dict`; the highest step is taken

The vector is the mean of the last hidden states over all tokens, start and end among them. The order of the
phonemes is lost in it, which limits how well the words can be told from it.

Source of layout and embedding: papercup-ai/multilingual-pl-bert and Li and others, "Phoneme-level BERT for
enhanced prosody of text-to-speech with grapheme predictions" (2023).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_runtime.errors import CheckpointError, ConfigError, InputError
from edge_runtime.store.ownership import plain_name
from edge_training.image_speech.libraries import library
from edge_training.image_speech.phonemes import espeak_phonemes, ids_of, read_phonemes
from edge_training.image_speech.prompts import Prompt
from edge_training.weights.reading import read_config, read_saved

_STEP = re.compile(r"step_(\d+)\.t7")
_EXPECTED = "a folder with config.yml, step_*.t7 and the pickle of its token map"
# of the pre-training alone, or without weights
_UNUSED = ("pooler.", "embeddings.position_ids")


@dataclass(frozen=True)
class PlBert:
    """A phoneme encoder. Make one with `open_plbert`."""

    net: Any  # transformers' AlbertModel, in evaluation mode
    ids: Mapping[str, int]  # symbol → id
    separator: int | None  # id between words
    model_id: str  # name of the folder
    checkpoint: str  # name of the weights' file

    def embed(self, phonemes: str) -> tuple[NDArray[np.float32], set[str]]:
        """The vector (D,) of a sentence's phonemes, as `edge_training.image_speech.phonemes` writes them, and
        the symbols that the map does not know.

        Raises:
            InputError: more tokens than the net has positions; a symbol that cannot be looked up.
        """
        ids, strange = ids_of(phonemes, self.ids, self.separator)
        most = int(self.net.config.max_position_embeddings)
        if not 0 < len(ids) <= most:
            raise InputError("phonemes", got=f"{len(ids)} tokens", expected=f"1 … {most}")
        with torch.no_grad():
            states = self.net(torch.tensor([ids])).last_hidden_state  # (1, tokens, D)
        mean: NDArray[np.float32] = states[0].mean(dim=0).numpy()
        return mean, strange


def open_plbert(folder: str | os.PathLike[str]) -> PlBert:
    """The phoneme encoder of a folder as above.

    Raises:
        BackendError: transformers is missing.
        ConfigError: no such files, or a configuration without their entries.
        CheckpointError: weights that are damaged, or of another net.
    """
    transformers = library("transformers")
    place = Path(folder)
    config = read_config(_inside(place, "config.yml"))
    model, dataset = config.get("model_params"), config.get("dataset_params")
    if not isinstance(model, dict) or not isinstance(dataset, dict):
        raise ConfigError(
            str(place / "config.yml"),
            got=f"entries {', '.join(config)}",
            expected="model_params, dataset_params",
        )
    separator = dataset.get("word_separator")
    ids = _token_map(_inside(place, dataset.get("token_maps", "token_maps.pkl")))
    weights = _newest(place)
    try:
        net = transformers.AlbertModel(transformers.AlbertConfig(**model)).eval()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            str(place / "config.yml"), got=f"model_params that Albert refuses ({error})", expected="its sizes"
        ) from error
    highest = max([*ids.values(), separator if isinstance(separator, int) else 0])
    if highest >= net.config.vocab_size:
        raise ConfigError(
            str(place),
            got=f"a token with id {highest}",
            expected=f"less than vocab_size {net.config.vocab_size}",
        )
    _load(net, weights)
    return PlBert(
        net, ids, separator if isinstance(separator, int) else None, place.resolve().name, weights.name
    )


def _inside(folder: Path, name: object) -> Path:
    path = folder / plain_name(name, str(folder / "config.yml"))
    if not path.is_file():
        raise ConfigError(str(folder), got=f"no file {path.name}", expected=_EXPECTED)
    return path


def _newest(folder: Path) -> Path:
    found = {int(match[1]): path for path in folder.iterdir() if (match := _STEP.fullmatch(path.name))}
    if not found:
        raise ConfigError(str(folder), got="no file step_*.t7", expected=_EXPECTED)
    return found[max(found)]


def _token_map(path: Path) -> dict[str, int]:
    saved = read_saved(path)
    ids = saved if isinstance(saved, dict) else {}
    if ids and all(isinstance(key, int) and isinstance(value, str) for key, value in ids.items()):
        ids = {value: key for key, value in ids.items()}
    fits = all(isinstance(key, str) and type(value) is int and value >= 0 for key, value in ids.items())
    if not ids or not fits:
        raise CheckpointError(
            str(path),
            got=f"a {type(saved).__name__} of something else",
            expected="a dict of phonemes → ids",
            cause="a map of a tokenizer's words tells no ids of phonemes",
        )
    return dict(ids)


def _load(net: Any, path: Path) -> None:
    """Load the encoder's weights; the heads of its pre-training are left."""
    saved = read_saved(path)
    state = saved
    for name in ("net", "state_dict"):
        if isinstance(saved, dict) and isinstance(saved.get(name), dict):
            state = saved[name]
            break
    tensors = {
        str(key).removeprefix("module."): value
        for key, value in (state.items() if isinstance(state, dict) else ())
        if isinstance(value, torch.Tensor)
    }
    encoder = {
        key.removeprefix("encoder."): value for key, value in tensors.items() if key.startswith("encoder.")
    }
    # Albert's own layers begin with «encoder.» too
    given = encoder if any(key.startswith("embeddings.") for key in encoder) else tensors
    wanted = net.state_dict()
    missing = [key for key in wanted if key not in given and not key.startswith(_UNUSED)]
    reshaped = [key for key in wanted if key in given and given[key].shape != wanted[key].shape]
    if missing or reshaped:
        first = (missing or reshaped)[0]
        raise CheckpointError(
            str(path),
            got=f"{'no' if missing else 'another shape of'} {first} ({len(missing) + len(reshaped)} such)",
            expected="the weights of an Albert with config.yml's sizes",
        )
    net.load_state_dict({key: given[key].float() for key in wanted if key in given}, strict=False)


# ---- for the training data --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Embedded:
    """What `Embedder.write` wrote."""

    phonemes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Embedder:
    """Makes the embeddings of prompts.

    Args:
        encoder: of `open_plbert`.
        language: of espeak-ng.
        phonemes: a file of phonemes, in place of espeak-ng.
    """

    encoder: PlBert
    language: str = "en-us"
    phonemes: Path | None = None

    def write(self, path: Path, prompts: Sequence[Prompt]) -> Embedded:
        """Write the .npz of prompts, by rows: emb (N, D) float32, id, model_id, ckpt, lang.

        Raises:
            InputError: phonemes that cannot be found or embedded; names the prompt.
            BackendError: espeak-ng is not installed.
        """
        given = read_phonemes(self.phonemes, prompts) if self.phonemes is not None else {}
        rows, spoken, strange = [], [], set[str]()
        for prompt in prompts:
            try:
                phonemes = given.get(prompt.name) or espeak_phonemes(prompt.text, self.language)
                vector, unknown = self.encoder.embed(phonemes)
            except InputError as error:
                raise error.within(f"prompt {prompt.name}") from error
            rows.append(vector)
            spoken.append(phonemes)
            strange |= unknown
        np.savez(
            path,
            emb=np.stack(rows),
            id=np.array([prompt.name for prompt in prompts]),
            model_id=np.array(self.encoder.model_id),
            ckpt=np.array(self.encoder.checkpoint),
            lang=np.array(self.language),
        )
        notes = (
            (f"{len(strange)} symbols that the token map does not know: {' '.join(sorted(strange))}",)
            if strange
            else ()
        )
        return Embedded(tuple(spoken), notes)
