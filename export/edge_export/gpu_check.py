"""Everything that needs a GPU, once, as a table: `make gpu-check`, at most five minutes on one device.

    python -m edge_export.gpu_check [--json FILE]

    verify     every ONNX file of the nets on the processor and on CUDA; CUDA graphs; TF32, which may fail
    bench      HiFi-GAN V1 on onnxruntime beside PyTorch on the same device
    train      each net for a few steps in 32-true, bf16-mixed and 16-mixed, on data that it makes
    resume     a run of four steps that goes on to six
    gradcam    maps on CUDA beside those of the processor
    throughput V1, batch 16, bf16: the trainer's steps a second beside a textbook loop's

Without a CUDA device it says so in one sentence and exits 2; with one it exits 1 where a row failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.proof.verify import align
from edge_runtime.errors import BackendError, EdgeError

# net → options of the export: small presets, and V1 for its speed
BUNDLES: Mapping[str, Mapping[str, Any]] = {
    "audio-encoder": {},
    "hifigan": {"preset": "v1"},
    "istft-vocoder": {},
    "mel-inversion": {"preset": "light"},
    "degli": {"preset": "small"},
    "mri-acoustic": {"preset": "phantom"},
}
PICTURES = "pictures"  # of a recording of ours, three times
# net → system of the synthetic speaker's data, or PICTURES, and settings of a short training
TRAININGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "hifigan": ("wavs", {"preset": "v2", "batch_size": 4}),
    "istft-vocoder": ("wavs", {"preset": "small-22k", "batch_size": 4}),
    "audio-encoder": ("sync", {"preset": "phantom", "batch_size": 2}),
    "mel-inversion": ("wavs", {"preset": "light", "batch_size": 2}),
    "degli": ("wavs", {"preset": "small", "batch_size": 2}),
    "mri-acoustic": ("mri", {"preset": "phantom", "batch_size": 4}),
    "speech-encoder": ("ecog", {"preset": "phantom", "batch_size": 2, "test_trials": 2, "bins": 512}),
    # its teacher is the run before it, of the same precision
    "ecog-decoder": (
        "ecog",
        {"preset": "phantom", "batch_size": 2, "test_trials": 2, "teacher": "speech-encoder"},
    ),
    # a LoRA of the tiny audio model that `data tiny-diffusion` writes
    "image-speech": (PICTURES, {"auffusion": "tiny", "batch_size": 2, "unfreeze": ["mid_block"]}),
}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
UTTERANCES = 6
NEAR = 1e-3  # Grad-CAM's maps lie in 0 … 1; an H100's were 1.0e-4 from the processor's


@dataclass(frozen=True)
class Result:
    """One row; ``verdict`` is PASS, FAIL, or a word for a figure that nothing judges."""

    what: str
    verdict: str
    figure: str
    seconds: float


class Rows:
    """Results so far; a step that fails is a row and the next one begins."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.rows: list[Result] = []
        self.tell = tell

    @contextmanager
    def row(self, what: str, *, judged: bool = True) -> Iterator[list[str]]:
        """A row: the block appends its figures."""
        self.tell(what)
        began, figures = time.perf_counter(), list[str]()
        verdict = "PASS" if judged else "measured"
        try:
            yield figures
        except EdgeError as error:
            verdict = "FAIL"
            figures.append(str(error))
        except (RuntimeError, ValueError, AssertionError, ImportError, StopIteration) as error:
            verdict = "FAIL"
            figures.append(f"«{(str(error).splitlines() or [type(error).__name__])[0]}»")
        self.rows.append(Result(what, verdict, ", ".join(figures), time.perf_counter() - began))


def device_here() -> str:
    """The CUDA device's name; BackendError where torch sees none."""
    import torch

    if not torch.cuda.is_available():
        raise BackendError(
            "gpu-check",
            got=f"torch {torch.__version__} without a CUDA device",
            expected="a machine with an Nvidia GPU, its driver, and torch's CUDA build",
            cause="nvidia-smi shows the first two; make setup without TORCH_INDEX installs the third",
        )
    return torch.cuda.get_device_name()


def check(
    folder: Path,
    *,
    device: str = "cuda",
    bundles: Mapping[str, Mapping[str, Any]] = BUNDLES,
    trainings: Mapping[str, tuple[str, Mapping[str, Any]]] = TRAININGS,
    precisions: Sequence[str] = PRECISIONS,
    speed: bool = True,
    tell: Callable[[str], object] = lambda _line: None,
) -> list[Result]:
    """All rows.

    Args:
        folder: for bundles, data and runs; nothing in it is kept for anything else.
        device: of onnxruntime and torch; "cpu" goes the same ways.
        bundles, trainings: as the tables of this module.
        precisions: of the trainings.
        speed: measure bench and throughput too.
        tell: called with a line before each row.
    """
    rows = Rows(tell)
    for net, options in bundles.items():
        with rows.row(f"export {net}"):
            _export(net, folder / net, options)
        _verify(rows, net, folder / net, device)
    if speed:
        _bench(rows, folder / "hifigan", device)
    systems = sorted({system for system, _ in trainings.values()})
    if systems:
        with rows.row("data phantom"):
            _write_data(folder / "data", systems)
    for net, (system, settings) in trainings.items():
        for precision in precisions:
            with rows.row(f"train {net} {precision}") as figures:
                run = folder / f"run-{net}-{precision}"
                figures.append(_train(net, folder / "data" / system, run, settings, precision))
    if trainings:
        net, (system, settings) = next(iter(trainings.items()))
        with rows.row(f"resume {net}") as figures:
            run = folder / f"run-{net}-{precisions[0]}"
            figures.append(_train(net, folder / "data" / system, run, settings, precisions[0], resume=True))
    if "mri-acoustic" in trainings:
        with rows.row(f"gradcam {device} beside cpu") as figures:
            figures.append(_gradcam(folder, folder / f"run-mri-acoustic-{precisions[0]}", device))
    if speed:
        _throughput(rows, device)
    return rows.rows


def _write_data(data: Path, systems: Sequence[str]) -> None:
    """The synthetic speaker's data; clips of the vocal tract prepared for training."""
    from edge_training.mri_speech.preparation import Preparation, prepare
    from edge_training.phantom.corpus import write_corpus

    spoken = [system for system in systems if system != PICTURES]
    if spoken:
        write_corpus(data, utterances=UTTERANCES, seed=0, systems=spoken)
    if PICTURES in systems:
        _write_pictures(data)
    if "mri" in systems:
        raw = (data / "mri").rename(data / "mri-raw")
        prepare(raw / "normalized_videos", raw / "audio_wav", data / "mri", Preparation(size=64), workers=1)


def _write_pictures(data: Path) -> None:
    """Pictures of speech, and the tiny models that are trained on them."""
    import edge_export.assets
    from edge_training.image_speech.preparation import Preparation, Source, prepare
    from edge_training.image_speech.prompts import Prompt
    from edge_training.image_speech.tiny import write_tiny_diffusion

    names = ("one", "two", "three")
    sentence = Path(edge_export.assets.__file__).with_name("sentence.wav")
    source = Source(tuple(Prompt(name, name) for name in names), dict.fromkeys(names, sentence))
    prepare(source, data / PICTURES, Preparation(stretch=1.0))
    write_tiny_diffusion(data.parent / "tiny")


def _export(net: str, out: Path, options: Mapping[str, Any]) -> None:
    from edge_export.catalog import get_net
    from edge_export.convert import export

    seed = 0 if get_net(net).has_weights else None
    export(net, out, targets=["onnx"], random=seed, **options)


def _verify(rows: Rows, net: str, bundle: Path, device: str) -> None:
    """A row for each artifact on each device, and one with CUDA graphs."""
    from edge_export.proof.verify import Row, verify

    with rows.row(f"verify {net}") as figures:
        result = verify(bundle, backends=["onnxruntime"], devices=("cpu", device))
        by_kind: dict[str, list[Row]] = {}
        for row in result.rows:
            if row.comparison:
                by_kind.setdefault(f"{row.device} {row.bits}", []).append(row)
        for kind, same in by_kind.items():
            worst = max(row.comparison.max_abs for row in same if row.comparison)
            figures.append(f"{kind} {worst:.1e}")
        failed = [row for row in result.rows if row.status == "FAIL"]
        if failed:
            raise AssertionError(f"{failed[0].where} {failed[0].bits}: {failed[0].detail}")
    if device != "cuda":
        return
    with rows.row(f"verify {net} --cuda-graphs", judged=False) as figures:
        result = verify(bundle, backends=["onnxruntime"], devices=[device], cuda_graphs=True)
        figures.append(result.summary())
    with rows.row(f"verify {net} --tf32", judged=False) as figures:
        result = verify(bundle, backends=["onnxruntime"], devices=[device], tf32=True)
        worst = max((row.comparison.max_abs for row in result.rows if row.comparison), default=np.nan)
        figures.append(f"largest error {worst:.1e}")


def _bench(rows: Rows, bundle: Path, device: str) -> None:
    from edge_export import bench

    tries: dict[str, dict[str, Any]] = {"": {}}
    if device == "cuda":
        tries |= {" --tf32": {"tf32": True}, " --cuda-graphs": {"cuda_graphs": True}}
    for words, options in tries.items():
        with rows.row(f"bench hifigan v1{words}", judged=False) as figures:
            timings = bench.bench([bundle], against=["torch"], devices=[device], threads=[1], **options)
            figures += [
                f"{each.ours} {each.ours_ms:.1f} ms, {each.peer} {each.peer_ms:.1f} ms"
                for each in timings
                if each.ratio is not None and "stream" not in each.what
            ]


def _train(
    net: str, data: Path, run: Path, settings: Mapping[str, Any], precision: str, *, resume: bool = False
) -> str:
    from edge_training.engine.trainer import train

    chosen = {name: value for name, value in settings.items() if not (resume and name == "preset")}
    steps = 6 if resume else 4
    options: dict[str, Any] = {"validation_clips": 1} if not resume and data.name != "ecog" else {}
    if "teacher" in chosen:
        options["teacher"] = str(run.parent / f"run-{chosen['teacher']}-{precision}")
    if "auffusion" in chosen:
        options["auffusion"] = str(run.parent / chosen["auffusion"] / "auffusion")
    done = train(
        net, data, run, steps=steps, resume=resume, devices=1, precision=precision, progress=False,
        **(chosen | options),
    )  # fmt: skip
    assert done.steps == steps, f"{done.steps} steps of {steps}"
    losses = [f"{name} {value:.3g}" for name, value in done.metrics.items() if name.startswith("loss")]
    return ", ".join(losses[:2])


def _gradcam(folder: Path, run: Path, device: str) -> str:
    from edge_training.mri_speech.gradcam import gradcam

    frames = np.random.default_rng(0).integers(0, 255, (8, 64, 64), np.uint8)
    np.save(folder / "video.npy", frames)
    weights = next(run.rglob("*.safetensors"))
    maps = []
    for number, where in enumerate(("cpu", device)):
        out = gradcam(folder / "video.npy", weights, folder / f"maps-{number}", device=where)
        maps.append([np.load(path) for path in sorted(out.glob("*_sequence.npy"))])
    apart = max(float(np.abs(a - b).max()) for a, b in zip(*maps, strict=True))
    assert apart < NEAR, f"{apart:.1e} from the processor's, expected less than {NEAR:g}"
    return f"{apart:.1e} from the processor's"


def _throughput(rows: Rows, device: str) -> None:
    from edge_training.vocoder.hifigan_recipe import PRESETS as FITS
    from edge_training.vocoder.throughput import measure_apart

    config = replace(FITS["v1"], batch_size=16)
    tries = {
        "v1 bf16-mixed": (config, "bf16-mixed"),
        "v1 bf16-mixed, channels last": (replace(config, channels_last=True), "bf16-mixed"),
        "v1 32-true": (config, "32-true"),
    }
    for words, (fit, precision) in tries.items():
        with rows.row(f"throughput {words}", judged=False) as figures:
            result = measure_apart(fit, 20, device, precision)
            figures.append(
                f"trainer {1 / result.trainer:.2f} steps/s, textbook {1 / result.textbook:.2f}, "
                f"ratio {result.gain:.2f}"
            )


def table(rows: Sequence[Result]) -> str:
    """The rows as text."""
    lines = [("what", "verdict", "seconds", "")]
    lines += [(row.what, row.verdict, f"{row.seconds:.1f}", row.figure) for row in rows]
    return align(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the table; 0, 1 where a row failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(description="Everything that needs a GPU, once.")
    parser.add_argument("--json", type=Path, help="write the rows as JSON too")
    given = parser.parse_args(arguments)
    try:
        name = device_here()
    except BackendError as error:
        print(error, file=sys.stderr)
        return 2
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = check(Path(folder), tell=partial(print, file=sys.stderr, flush=True))
    failed = sum(row.verdict == "FAIL" for row in rows)
    print(table(rows))
    print(f"{name}: {len(rows) - failed} rows, {failed} failed, {time.perf_counter() - began:.0f} s")
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
