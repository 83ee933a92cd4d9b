"""How vocoders sound and what they cost, in one table: any of them, as exported, on the same recordings.

    python -m edge_export.quality.vocoder --data DIR --bundle NAME=BUNDLE … [--timed NAME=BUNDLE …]

Each recording, scaled to a peak of 0.95, is turned into the mel of the vocoder and back. In the mean of the
clips:

    mel       mean |Δ| of the log mel through the vocoder's own front end, the lower the better
    pesq      ITU-T P.862.2, wide band at 16 kHz, 1 … 4.64
    stoi      short-time objective intelligibility (Taal and others 2011) at 16 kHz, 0 … 1
    dnsmos    overall opinion score, and
    p808      that of P.808, as DNSMOS predicts both from the audio alone at 16 kHz, 1 … 5 (Reddy and others
              2022; package speechmos)
    M, GMAC   millions of parameters, and multiplications with weights for a second of audio, both counted in
              the fp32 ONNX graph, constants of transforms included
    RTF       seconds on one thread of onnxruntime for a second of audio, the least of three runs of each clip

Nothing is shifted to fit: these nets and Griffin-Lim keep the place of every sample.

Rows: the recording; Fast Griffin-Lim, 32 iterations from the pseudo-inverse; each bundle of a vocoder, or of
`mel-inversion` followed by 64 iterations of Fast Griffin-Lim. Bundles under `--timed` are timed alone, and
fewer times: what others are compared with, whatever their weights.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_export.proof.verify import align
from edge_export.quality import command
from edge_runtime.backends.base import load_library
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import BackendError, ConfigError, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
from edge_runtime.pipelines.vocoder.pipeline import NETS, Vocoder
from edge_runtime.store.bundle import Bundle, open_bundle

PEAK, JUDGED_RATE, REPEATS = 0.95, 16000, 3
FIGURES = ("mel", "pesq", "stoi", "dnsmos", "p808")
_LENGTHS: Mapping[str, int] = {"frames": 32}  # of the run whose multiplications are counted; other axes 1

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """One way from a mel to audio."""

    name: str
    mel: MelConfig
    synthesize: Callable[[Samples], Samples]  # (n_mels, frames) → (samples,)
    parameters: int | None = None
    multiplications: float | None = None  # for a second of audio


@dataclass(frozen=True)
class Row:
    """Means over the clips; None where a figure was not asked for or could not be had."""

    name: str
    figures: Mapping[str, float | None]
    parameters: int | None = None
    multiplications: float | None = None
    real_time_factor: float | None = None


# ---- ways -------------------------------------------------------------------------------------------------


def open_way(name: str, place: str | Path) -> Way:
    """The way of a bundle, on one thread of onnxruntime; ConfigError for a net that makes no speech."""
    bundle = open_bundle(place)
    net = bundle.manifest.net
    if net == "mel-inversion":
        inversion, mel = MelInversion(bundle, threads=1), _front_end(bundle)
        parameters, each = count(bundle)

        def invert(values: Samples) -> Samples:
            return inversion.invert(values).samples

        return Way(name, mel, invert, parameters, each * _rate(mel))
    if net not in NETS:
        raise ConfigError(str(place), got=net, expected=f"{', '.join(NETS)} or mel-inversion")
    vocoder = Vocoder(bundle, threads=1)
    parameters, each = count(bundle)
    return Way(name, vocoder.front_end, vocoder.synthesize, parameters, each * _rate(vocoder.front_end))


def griffin_lim_way(mel: MelConfig) -> Way:
    """Fast Griffin-Lim without a net."""
    from edge_training.vocoder.quality import ITERATIONS, fast_griffin_lim

    return Way(f"Fast Griffin-Lim {ITERATIONS}", mel, fast_griffin_lim(mel))


def _front_end(bundle: Bundle) -> MelConfig:
    mel = bundle.manifest.front_end
    assert mel is not None, "nets on mels state their front end"
    return mel


def _rate(mel: MelConfig) -> float:
    """Frames a second."""
    return mel.sample_rate / mel.hop_length


def count(bundle: Bundle) -> tuple[int, float]:
    """(parameters, multiplications for a frame) of a bundle's fp32 ONNX graph, from the shapes of one run."""
    import onnx

    onnxruntime = load_library("onnxruntime", "onnxruntime", "ort")
    model = onnx.load(str(bundle.artifact("onnx", "fp32")))
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            weights[node.output[0]] = tuple(node.attribute[0].t.dims)
    counted = [
        node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")
    ]
    seen = sorted({name for node in counted for name in (*node.input[:2], node.output[0])} - set(weights))
    wanted = [name for name in seen if name not in {value.name for value in model.graph.input}]
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    tensor = bundle.manifest.inputs[0]
    shape = [axis if isinstance(axis, int) else _LENGTHS.get(axis, 1) for axis in tensor.shape]
    found = session.run(wanted, {tensor.name: np.full(shape, -5.0, np.float32)})
    shapes = weights | {name: value.shape for name, value in zip(wanted, found, strict=True)}
    shapes[tensor.name] = tuple(shape)
    parameters = sum(int(np.prod(each.dims)) for each in model.graph.initializer if each.data_type == 1)
    return parameters, sum(_products(node, shapes) for node in counted) / _LENGTHS["frames"]


def _products(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications of one node."""
    given, weight, made = (shapes[name] for name in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "Conv":
        return int(np.prod(made)) * int(np.prod(weight[1:]))
    if node.op_type == "ConvTranspose":
        return int(np.prod(given)) * int(np.prod(weight[1:]))
    return int(np.prod(made)) * given[-1]


# ---- judging ----------------------------------------------------------------------------------------------


def measure(way: Way, clips: Sequence[Path], out: Path | None = None) -> Row:
    """All figures of a way on recordings; `out` takes what it made as WAV."""
    from edge_training.vocoder.quality import judge

    front_end, rate = MelFrontEnd(way.mel), way.mel.sample_rate
    found: list[dict[str, float]] = []
    taken = heard = 0.0
    for clip in clips:
        recording = read_recording(clip, way.mel)
        made, seconds = timed(way, front_end(recording), REPEATS)
        taken, heard = taken + seconds, heard + recording.size / rate
        found.append(judge(recording, made, way.mel) | dnsmos(made, rate))
        if out is not None:
            write_wav(out / f"{clip.stem}_{way.name.replace(' ', '-')}.wav", np.clip(made, -1, 1), rate)
    means: dict[str, float | None] = {name: float(np.mean([f[name] for f in found])) for name in FIGURES}
    return Row(way.name, means, way.parameters, way.multiplications, taken / heard)


def measure_recordings(clips: Sequence[Path], mel: MelConfig) -> Row:
    """What the recordings themselves have: the opinion scores."""
    scores = [dnsmos(read_recording(clip, mel), mel.sample_rate) for clip in clips]
    means = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
    return Row("recording", {"mel": 0.0, "pesq": None, "stoi": 1.0} | means)


def measure_time(way: Way, clip: Path) -> Row:
    """Costs alone, on one clip."""
    recording = read_recording(clip, way.mel)
    _, seconds = timed(way, MelFrontEnd(way.mel)(recording), 2)
    factor = seconds * way.mel.sample_rate / recording.size
    return Row(way.name, dict.fromkeys(FIGURES), way.parameters, way.multiplications, factor)


def timed(way: Way, mel: Samples, times: int) -> tuple[Samples, float]:
    """What a way makes, and the least time that it took."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        made = way.synthesize(mel)
        best = min(best, time.perf_counter() - began)
    return made, best


def dnsmos(samples: Samples, rate: int) -> dict[str, float]:
    """Both opinion scores of a signal; BackendError where the package is missing."""
    try:
        from speechmos import dnsmos as package
    except ImportError as error:
        raise BackendError(
            "judging audio",
            got=f"no module named {error.name}",
            expected="speechmos",
            cause="pip install 'edge-export[quality]'",
        ) from error
    scores = package.run(np.clip(resample(samples, rate, JUDGED_RATE), -1, 1), JUDGED_RATE)
    return {"dnsmos": float(scores["ovrl_mos"]), "p808": float(scores["p808_mos"])}


def read_recording(path: Path, mel: MelConfig) -> Samples:
    """(samples,) at the mel's rate, whole frames of it, scaled to the peak."""
    samples = read_audio(path, mel.sample_rate).samples
    samples = samples[: samples.size // mel.hop_length * mel.hop_length]
    if samples.size < mel.min_samples:
        raise InputError(str(path), got=f"{samples.size} samples", expected=f"at least {mel.min_samples}")
    return np.asarray(samples * np.float32(PEAK / max(1e-9, float(np.abs(samples).max()))), np.float32)


# ---- the table --------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """The rows as plain text."""
    lines: list[tuple[str, ...]] = [("", *FIGURES, "M", "GMAC/s", "RTF")]
    for row in rows:
        figures = [_text(row.figures.get(name), ".3f") for name in FIGURES]
        millions = None if row.parameters is None else row.parameters / 1e6
        giga = None if row.multiplications is None else row.multiplications / 1e9
        costs = (_text(millions, ".2f"), _text(giga, ".3f"), _text(row.real_time_factor, ".4f"))
        lines.append((row.name, *figures, *costs))
    return align(lines)


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def compare(
    data: Path,
    bundles: Sequence[tuple[str, str]],
    timed_alone: Sequence[tuple[str, str]] = (),
    *,
    last: int = 4,
    out: Path | None = None,
    progress: Callable[[str], object] = print,
) -> list[Row]:
    """The rows of the last recordings by name in a folder."""
    from edge_training.vocoder.data import SUFFIXES

    clips = sorted(path for path in data.iterdir() if path.suffix.lower() in SUFFIXES)[-last:]
    if not clips:
        raise InputError(str(data), got="no recordings", expected=f"files {', '.join(SUFFIXES)}")
    mel = PRESETS["hifigan-22k"]
    rows = [measure_recordings(clips, mel)]
    for way in (griffin_lim_way(mel), *(open_way(name, place) for name, place in bundles)):
        progress(f"measuring {way.name}")
        rows.append(measure(way, clips, out))
    for name, place in timed_alone:
        progress(f"timing {name}")
        rows.append(measure_time(open_way(name, place), clips[0]))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 2 for what cannot be measured."""
    parser = command.parser("Vocoders side by side: how they sound, what they cost.", "what was made, as WAV")
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--last", type=int, default=4, help="how many recordings, the last by name")
    parser.add_argument("--bundle", action="append", default=[], help="NAME=DIR, measured")
    parser.add_argument("--timed", action="append", default=[], help="NAME=DIR, timed alone")
    return command.run(parser, _measured, arguments)


def _measured(given: Namespace) -> command.Measured:
    bundles, timed = command.pairs("--bundle", given.bundle), command.pairs("--timed", given.timed)
    rows = compare(given.data, bundles, timed, last=given.last, out=given.out, progress=command.say)
    return table(rows), [asdict(row) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
