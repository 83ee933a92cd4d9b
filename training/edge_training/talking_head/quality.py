"""Measures of how well two towers recognise synchronous speech, on clips that they were not trained on.

    python -m edge_training.talking_head.quality --run RUN --data DIR [--clips all] [--encoder FILE]
        [--json FILE]

Features are normalised to length 1; the distance of a face and an audio window is 1 − cosine.

Two-way accuracy. Every face window is compared with its own audio and with wrong audio; it counts 1 where its
own is nearer, ½ where both are equally near. The mean is over all windows, silent ones included, and over
*all* wrong ones, not over a sample, so there is no seed:

    same     wrong audio of the same clip, 5 or more pictures away (its 200 ms do not overlap the face's)
    other    wrong audio of the other clips
    two_way  the mean of both

Offset. A clip of 1 second is 25 pictures in a row, 21 windows. For each candidate offset o of −15 … +15
pictures the distance of face f and audio f + o is averaged over the 21 windows; the offset found is the
candidate with the smallest mean. Audio and pictures are in truth aligned, so the offset found is the error:
`within_1` is the share of clips with an error of at most 1 picture, `exact` of those with none. Clips begin
at every 5th picture; those for which some candidate would need audio beyond the recording are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.errors import ConfigError, InputError
from edge_training.engine.items import Item
from edge_training.engine.run_checkpoints import FOLDER, WholeCheckpoints
from edge_training.talking_head.audio_encoder import AudioEncoder
from edge_training.talking_head.data import SyncData, SyncSource
from edge_training.talking_head.syncnet_face import PICTURES, SyncNetFace, SyncNetFaceConfig
from edge_training.weights.configs import read_config
from edge_training.weights.loading import load_into
from edge_training.weights.options import WEIGHTS_HELP

SECOND = 25  # pictures of a clip
WINDOWS = SECOND - PICTURES + 1  # of a clip
REACH = 15  # pictures, largest candidate offset
STRIDE = 5  # pictures between the starts of clips
BATCH = 64  # windows that go through a tower together

Which = Literal["all", "train", "val"]


@dataclass(frozen=True)
class Embedded:
    """The features of all windows of one recording."""

    name: str
    starts: NDArray[np.int64]  # (n,) pictures
    face: NDArray[np.float32]  # (n, D), rows of length 1 (or 0)
    audio: NDArray[np.float32]  # (n, D)


@dataclass(frozen=True)
class SyncQuality:
    """The figures, defined in the module's docstring."""

    recordings: int
    windows: int
    same: float
    other: float
    two_way: float
    clips: int  # of one second
    within_1: float  # NaN where there are no clips
    exact: float


def embed(face: nn.Module, audio: nn.Module, item: Item) -> Embedded:
    """Features of a validation item of `SyncData`; the towers must be in `eval()`."""
    device = next(face.parameters()).device
    faces, mels = (_through(net, item[key], device) for net, key in ((face, "face"), (audio, "mel")))
    return Embedded(item["name"], np.asarray(item["start"]), faces, mels)


def _through(net: nn.Module, windows: Any, device: torch.device) -> NDArray[np.float32]:
    features = []
    with torch.inference_mode():
        for first in range(0, len(windows), BATCH):  # a long recording does not fit at once
            there = torch.as_tensor(windows[first : first + BATCH]).to(device)
            seen = net(scale_pictures(there) if there.dtype == torch.uint8 else there)
            features.append(nn.functional.normalize(seen.float(), dim=1).cpu())
    return np.asarray(torch.cat(features).numpy())


def scale_pictures(pictures: Tensor) -> Tensor:
    """uint8 pictures (…, H, W) → float32 of the same shape in 0 … 1, the face tower's input."""
    return pictures.float() / 255


def judge(recordings: Sequence[Embedded]) -> SyncQuality:
    """All figures; InputError for fewer than two recordings, or without windows far enough apart."""
    if len(recordings) < 2:
        raise InputError(
            "recordings", got=str(len(recordings)), expected="at least 2, for wrong audio of another one"
        )
    same = [verdict for one in recordings for verdict in same_clip(one)]
    if not same:
        raise InputError(
            "recordings", got="no two windows 5 pictures apart", expected="recordings of at least 10 pictures"
        )
    other = [verdict for index in range(len(recordings)) for verdict in _other_clips(recordings, index)]
    found = np.array([offset for one in recordings for offset in offsets(one)])
    accuracy = float(np.mean(same)), float(np.mean(other))
    return SyncQuality(
        recordings=len(recordings),
        windows=sum(len(one.starts) for one in recordings),
        same=accuracy[0],
        other=accuracy[1],
        two_way=sum(accuracy) / 2,
        clips=len(found),
        within_1=float(np.mean(np.abs(found) <= 1)) if len(found) else float("nan"),
        exact=float(np.mean(found == 0)) if len(found) else float("nan"),
    )


def same_clip(one: Embedded) -> list[float]:
    """For each window that has wrong ones in its recording, the share of them that are farther away."""
    similarity = one.face @ one.audio.T
    apart = np.abs(one.starts[:, None] - one.starts[None, :]) >= PICTURES
    verdicts = _verdicts(similarity.diagonal()[:, None], similarity)
    return [float(row[wrong].mean()) for row, wrong in zip(verdicts, apart, strict=True) if wrong.any()]


def _other_clips(recordings: Sequence[Embedded], index: int) -> list[float]:
    one = recordings[index]
    wrong = np.concatenate([other.audio for place, other in enumerate(recordings) if place != index])
    own = (one.face * one.audio).sum(1, keepdims=True)
    return [float(share) for share in _verdicts(own, one.face @ wrong.T).mean(1)]


def _verdicts(own: NDArray[np.float32], wrong: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray((own > wrong) + 0.5 * (own == wrong))


def offsets(one: Embedded, *, reach: int = REACH, stride: int = STRIDE) -> list[int]:
    """The offset found (pictures) in each 1-second clip of a recording; positive: audio is late."""
    distance = 1 - one.face @ one.audio.T
    found = []
    for first in range(reach, len(one.starts) - WINDOWS - reach + 1, stride):
        if one.starts[first + WINDOWS - 1 + reach] - one.starts[first - reach] != WINDOWS - 1 + 2 * reach:
            continue  # pictures are missing here
        rows = np.arange(first, first + WINDOWS)
        means = [float(distance[rows, rows + o].mean()) for o in range(-reach, reach + 1)]
        found.append(int(np.argmin(means)) - reach)
    return found


# ---- a run, and recordings on the disk --------------------------------------------------------------------


def load_towers(
    run: Path, *, best: bool = True, encoder: Path | None = None, weights: str | None = None
) -> tuple[nn.Module, nn.Module]:
    """Face and audio tower of a run of `audio-encoder`, ready to use.

    Args:
        best: of the best validation, else of the newest checkpoint.
        encoder: weights that replace those of the run's audio tower, as exported or shipped.
        weights: of an encoder's file with several sets: "ema", "live", or the name of one.
    """
    record = read_config(run / "config.json")
    if record.get("net") != "audio-encoder":
        raise ConfigError(
            str(run), got=f"a run of {record.get('net')!r}", expected="a run of 'audio-encoder'"
        )
    places = sorted((run / FOLDER).glob("best.ckpt" if best else "step-*.ckpt"))
    if not places:
        raise InputError(str(run), got="no checkpoint", expected="a run that has written one")
    state = WholeCheckpoints().load_checkpoint(places[-1])["state_dict"]
    face, audio = SyncNetFace(SyncNetFaceConfig.from_json(record["config"]["face"])), AudioEncoder()
    for net, prefix in ((face, "face."), (audio, "audio.")):
        net.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    if encoder is not None:
        load_into(audio, encoder, "audio-encoder", weights)
    return face.eval(), audio.eval()


def recordings(folder: Path, which: Which = "all") -> Iterable[Item]:
    """Whole clips of a data folder, one after the other."""
    data = SyncData(SyncSource(folder, windows=PICTURES + 1))
    if which in ("all", "train"):
        yield from (data.training_clip(clip) for clip in range(len(data.names)))
    if which in ("all", "val"):
        yield from (data.validation_item(clip) for clip in range(len(data.validation_names)))


def evaluate(
    face: nn.Module, audio: nn.Module, items: Iterable[Item], say: Callable[[str], None] | None = None
) -> SyncQuality:
    """Figures of two towers on whole clips."""
    embedded = []
    for item in items:
        embedded.append(embed(face, audio, item))
        if say is not None:
            say(item["name"])
    return judge(embedded)


def main() -> None:
    """Command line: prints the figures."""
    parser = argparse.ArgumentParser(
        description="Measure how well a run of audio-encoder recognises synchrony."
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", choices=get_args(Which), default="all", help="which clips of the folder")
    parser.add_argument("--newest", action="store_true", help="the newest checkpoint, not the best")
    parser.add_argument("--encoder", type=Path, help="weights that replace the run's audio tower")
    parser.add_argument("--weights", metavar="SET", help=WEIGHTS_HELP)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    towers = load_towers(
        arguments.run, best=not arguments.newest, encoder=arguments.encoder, weights=arguments.weights
    )
    quality = asdict(evaluate(*towers, recordings(arguments.data, arguments.clips)))
    for name, value in quality.items():
        print(f"{name:12}{value:10.4f}" if isinstance(value, float) else f"{name:12}{value:10d}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(quality, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
