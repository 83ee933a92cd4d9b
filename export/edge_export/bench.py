"""Speed, as ratios to the libraries that people use today.

Absolute times say little on a shared machine. Here ours and a peer take turns in one process, with one
thread setting; each round gives a ratio peer / ours, and the median over rounds is printed: 2.0 means that
ours takes half the time. Each contest has its own process, because the number of threads of the numeric
libraries is fixed when they load.

    contest          ours                                    peers
    mel-60s          MelFrontEnd (numpy alone)               librosa (SyncTalk_2D's float64 steps), torch.stft
    net              onnxruntime on the device's artifact    PyTorch eager on the same device, the same net
    stream           StreamingVocoder, a chunk of 4 frames   the time that the chunk's audio plays
    griffin-lim      griffin_lim, with and without scipy     librosa.griffinlim, 32 iterations of FGLA
    startup          import edge_runtime; --help             an empty interpreter (seconds, no ratio)
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp import spectral
from edge_runtime.dsp.griffin_lim import MOMENTUM, griffin_lim
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd, filter_bank
from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.store.bundle import Bundle, open_bundle

PEERS = ("torch", "librosa")
ROUNDS = 9
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# lengths of the named axes that a net is timed at; one that is not listed: its last reference case
TIMED_SHAPES: Mapping[str, dict[str, int]] = {
    "audio-encoder": {"batch": 64},
    "hifigan": {"batch": 1, "frames": 172},
    "istft-vocoder": {"batch": 1, "frames": 172},
    "bigvgan": {"batch": 1, "frames": 32},
    "mri-acoustic": {"batch": 1, "frames": 54},
    "mel-inversion": {"batch": 1, "frames": 64},
    "degli": {"batch": 1, "frames": 64},
    "stft": {"batch": 1, "samples": 220500},
    "istft": {"batch": 1, "frames": 862},
}

STREAMED = ("hifigan", "istft-vocoder")
STREAMED_FRAMES = 4  # of a chunk

Contender = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """What one process times."""

    name: str
    bundle: str = ""
    threads: int = 1
    device: str = "cpu"
    precision: str = "fp32"
    tf32: bool = False
    cuda_graphs: bool = False

    def __str__(self) -> str:
        threads = f"with {self.threads} thread{'s' if self.threads > 1 else ''}"
        words = (self.name, self.bundle, threads if self.device == "cpu" else f"on {self.device}")
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class Timing:
    """One contest. ``ratio`` is peer time / our time, median over rounds; None where nothing is compared."""

    what: str
    threads: int
    ours: str
    ours_ms: float
    peer: str
    peer_ms: float
    ratio: float | None


def bench(
    bundles: Sequence[str | Path] = (),
    *,
    against: Sequence[str] = PEERS,
    threads: Sequence[int] = (1, 2),
    devices: Sequence[str] = ("cpu",),
    precision: str = "fp32",
    tf32: bool = False,
    cuda_graphs: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[Timing]:
    """Time the front ends and nets of bundles; without bundles Griffin-Lim; and the start of the program.

    Args:
        bundles: folders; each gives its net's contest, and the `talking-head` mel's where it has that.
        against: peers to race, of `PEERS`.
        threads: thread settings of the processor, one contest each.
        devices: of onnxruntime, for nets; a row each, PyTorch beside it on the same device where it has it.
        precision: of the artifacts, "fp32" or "fp16"; PyTorch stays float32.
        tf32, cuda_graphs: settings of CUDA, see `edge_export.backends.tuned_backend`; PyTorch gets TF32 too.
        progress: called with one line before each contest.

    Raises:
        ConfigError: unknown peer.
        BackendError: a peer or device is not there, or a contest's process failed.
        BundleError: a bundle is damaged.
    """
    unknown = set(against) - set(PEERS)
    if unknown:
        raise ConfigError("--against", got=", ".join(sorted(unknown)), expected=f"some of {', '.join(PEERS)}")
    if min(threads, default=0) < 1:
        raise ConfigError("--threads", got=str(list(threads)), expected="numbers of at least 1")
    for peer in against:
        if importlib.util.find_spec(peer) is None:
            raise BackendError(
                f"--against {peer}", got=f"no module named {peer}", expected=peer, cause=f"pip install {peer}"
            )
    _check_devices(devices)
    net = partial(Contest, "net", precision=precision)
    contests = [Contest("startup")]
    if not bundles and "librosa" in against:
        contests.append(Contest("griffin-lim"))
    for path in bundles:
        manifest = open_bundle(path).manifest
        if manifest.front_end == PRESETS["talking-head"]:
            contests += [Contest("mel-60s", threads=count) for count in threads]
        if "torch" not in against:
            continue
        for device in devices:
            if device == "cpu":
                contests += [net(str(path), count) for count in threads]
            else:
                on = device == "cuda"
                contests.append(
                    net(str(path), device=device, tf32=tf32 and on, cuda_graphs=cuda_graphs and on)
                )
        if manifest.net in STREAMED:
            contests.append(Contest("stream", str(path)))
    if bundles and len(contests) == 1:
        raise ConfigError(
            "--against",
            got=", ".join(against),
            expected="torch, the peer for nets",
            cause="librosa is the peer for the mel only",
        )
    timings: list[Timing] = []
    for contest in dict.fromkeys(contests):
        if progress:
            progress(str(contest))
        timings += _in_a_process(contest, against)
    return timings


def _check_devices(devices: Sequence[str]) -> None:
    """ConfigError for a device that onnxruntime does not know, BackendError for one that does not start."""
    from edge_runtime.backends import ort

    for device in devices:
        if device not in ort.devices:
            raise ConfigError("--device", got=repr(device), expected=f"one of {', '.join(ort.devices)}")
        if reason := ort.trial(device):
            raise BackendError(f"--device {device}", got=reason, expected="a device that starts here")


def _in_a_process(contest: Contest, against: Sequence[str]) -> list[Timing]:
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(contest.threads))
    told = json.dumps(asdict(contest))
    command = [sys.executable, "-m", "edge_export.bench", told, ",".join(against)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(
            f"contest {contest.name}",
            got=last,
            expected="a process that ends normally",
            cause="see edge-export doctor",
        )
    return [Timing(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def race(ours: Contender, peer: Contender, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Milliseconds of ours and of the peer (medians), and the median ratio peer / ours; both take turns."""
    ours(), peer()  # both once, uncounted: pages, caches, plans
    pairs = [(_milliseconds(ours), _milliseconds(peer)) for _ in range(rounds)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(b / a for a, b in pairs),
    )


def _milliseconds(contender: Contender) -> float:
    started = time.perf_counter()
    contender()
    return 1e3 * (time.perf_counter() - started)


def _mel_contest(threads: int, against: Sequence[str]) -> list[Timing]:
    audio = _speech(60.0, 16000)
    front_end = MelFrontEnd(PRESETS["talking-head"], workers=threads)
    peers = {"librosa": _librosa_mel, "torch": _torch_mel}
    name = "MelFrontEnd, numpy"
    rows = []
    for peer in (peer for peer in PEERS if peer in against):
        ours_ms, peer_ms, ratio = race(lambda: front_end(audio), peers[peer](audio, threads))
        label = {"torch": "torch.stft", "librosa": "librosa"}[peer]
        rows.append(Timing("talking-head mel of 60 s", threads, name, ours_ms, label, peer_ms, ratio))
    return rows


def _speech(seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """The spoken sentence of the demo, repeated at falling level so that no two stretches are alike."""
    from edge_export.assets import SENTENCE
    from edge_runtime.media.audio import read_audio

    sentence = read_audio(SENTENCE, sample_rate=sample_rate).samples
    length = int(seconds * sample_rate)
    repeats = -(-length // sentence.size)
    speech: NDArray[np.float32] = np.concatenate([sentence * np.float32(0.97**k) for k in range(repeats)])
    return speech[:length]


def _librosa_mel(audio: NDArray[np.float32], _threads: int) -> Contender:
    """SyncTalk_2D's steps with librosa, in float64 from the pre-emphasis on."""
    import librosa
    from scipy.signal import lfilter

    basis = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)

    def mel() -> object:
        spectrum = librosa.stft(lfilter([1, -0.97], [1], audio), n_fft=800, hop_length=200)
        level = 20 * np.log10(np.maximum(1e-5, basis @ np.abs(spectrum))) - 20
        return np.clip(8 * (level + 100) / 100 - 4, -4, 4)

    return mel


def _torch_mel(audio: NDArray[np.float32], threads: int) -> Contender:
    """The same in torch, float32 throughout, bases cached."""
    import torch

    torch.set_num_threads(threads)
    samples = torch.from_numpy(audio)
    window = torch.hann_window(800)
    basis = torch.from_numpy(filter_bank(PRESETS["talking-head"]).astype(np.float32))

    @torch.inference_mode()
    def mel() -> object:
        emphasised = torch.cat([samples[:1], samples[1:] - 0.97 * samples[:-1]])
        spectrum = torch.stft(
            emphasised, 800, 200, window=window, center=True, pad_mode="constant", return_complex=True
        )
        level = 20 * torch.log10(torch.clamp(basis @ spectrum.abs(), min=1e-5)) - 20
        return torch.clamp(8 * (level + 100) / 100 - 4, -4, 4)

    return mel


def _griffin_lim_contest(seconds: float = 10.0, rounds: int = ROUNDS) -> list[Timing]:
    """Fast Griffin-Lim in float32 at 22 050 Hz, 1024 / 256, with the two transforms that ours can use."""
    framing = StftConfig(1024, 256, 1024, "center-zero")
    magnitude = np.abs(Stft(framing).forward(_speech(seconds, 22050)))
    peer = _librosa_griffin_lim(magnitude)
    rows = []
    for name, module in {"scipy.fft": spectral._scipy_fft, "numpy alone": lambda: None}.items():
        with mock.patch.object(spectral, "_scipy_fft", module):
            ours_ms, peer_ms, ratio = race(
                lambda: griffin_lim(magnitude, n_fft=1024, hop_length=256), peer, rounds
            )
        what = f"32 × Fast Griffin-Lim of {seconds:g} s"
        rows.append(Timing(what, 1, f"griffin_lim, {name}", ours_ms, "librosa", peer_ms, ratio))
    return rows


def _librosa_griffin_lim(magnitude: NDArray[np.float32]) -> Contender:
    import librosa

    return lambda: librosa.griffinlim(
        magnitude, n_iter=32, hop_length=256, n_fft=1024, momentum=MOMENTUM, init=None
    )


def _net_contest(bundle: Bundle, contest: Contest) -> list[Timing]:
    """onnxruntime against eager PyTorch; the peer's weights are random, its arithmetic is the same."""
    import torch

    from edge_export.backends import tuned_backend
    from edge_export.catalog import NETS
    from edge_runtime.backends.artifacts import open_artifact

    torch.set_num_threads(contest.threads)
    beside = contest.device if contest.device == "cuda" and torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = contest.tf32
    manifest = bundle.manifest
    net = NETS[manifest.net]
    inputs = _timed_inputs(bundle)
    sizes = TIMED_SHAPES.get(manifest.net, {"case": bundle.cases[-1]})
    module = net.build(net.config_from_json(manifest.config)).eval().to(beside)
    artifact = manifest.artifact("onnx", contest.precision, contest.device)
    library = tuned_backend("onnxruntime", tf32=contest.tf32, cuda_graphs=contest.cuda_graphs)
    threads = contest.threads if contest.device == "cpu" else None
    session = open_artifact(bundle, artifact, library, device=contest.device, threads=threads)

    @torch.inference_mode()
    def eager() -> object:  # arrays go there and back, as they do for ours; the way back also waits
        results = module(*(torch.from_numpy(array).to(beside) for array in inputs.values()))
        tensors = results if isinstance(results, tuple) else (results,)
        return [tensor.cpu() for tensor in tensors]

    ours_ms, peer_ms, ratio = race(lambda: session.run(inputs), eager)
    what = f"{manifest.net}, {', '.join(f'{axis} {size}' for axis, size in sizes.items())}"
    ours = f"onnxruntime {artifact.kind.removeprefix('onnx ')}" + _on(contest.device)
    return [Timing(what, contest.threads, ours, ours_ms, "PyTorch eager" + _on(beside), peer_ms, ratio)]


def _on(device: str) -> str:
    return "" if device == "cpu" else f", {device}"


def _stream_contest(bundle: Bundle, chunks: int = 40) -> list[Timing]:
    """A chunk in the middle of a stream against real time: the ratio is how many times faster it is."""
    from edge_runtime.pipelines.vocoder.streaming import StreamingVocoder

    vocoder = StreamingVocoder(bundle, chunk=STREAMED_FRAMES, threads=1)
    mel = vocoder.vocoder.mel(_speech(4.0, vocoder.sample_rate))[:, :STREAMED_FRAMES]
    pushed = [_milliseconds(lambda: vocoder.push(mel)) for _ in range(chunks)]
    settled = statistics.median(pushed[chunks // 2 :])
    played = 1e3 * STREAMED_FRAMES * vocoder.vocoder.hop_length / vocoder.sample_rate
    what = f"{bundle.manifest.net}, stream in chunks of {STREAMED_FRAMES} frames"
    return [Timing(what, 1, "StreamingVocoder, fp32", settled, "played in", played, played / settled)]


def _timed_inputs(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """Inputs of a net at its timed lengths: noise, whose values cost what any others do."""
    manifest = bundle.manifest
    if manifest.net not in TIMED_SHAPES:
        return bundle.reference(bundle.cases[-1])[0]
    lengths, rng = TIMED_SHAPES[manifest.net], np.random.default_rng(0)
    return {
        tensor.name: rng.standard_normal(
            [axis if isinstance(axis, int) else lengths[axis] for axis in tensor.shape]
        ).astype(np.float32)
        for tensor in manifest.inputs
    }


def _startup_contest() -> list[Timing]:
    def start(*arguments: str) -> Contender:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    rows = []
    starts = {"import edge_runtime": ("-c", "import edge_runtime"), "--help": ("-m", "edge_export", "--help")}
    for what, arguments in starts.items():
        ours_ms, peer_ms, _ = race(start(*arguments), start("-c", "pass"), rounds=5)
        rows.append(Timing(what, 1, "whole process", ours_ms, "empty interpreter", peer_ms, None))
    return rows


def table(timings: Sequence[Timing]) -> str:
    """The timings as fixed-width text."""
    from edge_export.proof.verify import align

    lines = [("what", "threads", "ours", "ms", "peer", "ms", "peer / ours")]
    for t in timings:
        ratio = f"{t.ratio:.2f} x" if t.ratio is not None else "-"
        lines.append((t.what, str(t.threads), t.ours, f"{t.ours_ms:.1f}", t.peer, f"{t.peer_ms:.1f}", ratio))
    return align(lines)


def _contest(contest: Contest, against: Sequence[str]) -> list[dict[str, Any]]:
    if contest.name == "startup":
        timings = _startup_contest()
    elif contest.name == "mel-60s":
        timings = _mel_contest(contest.threads, against)
    elif contest.name == "griffin-lim":
        timings = _griffin_lim_contest()
    elif contest.name == "stream":
        timings = _stream_contest(open_bundle(contest.bundle))
    else:
        timings = _net_contest(open_bundle(contest.bundle), contest)
    return [asdict(timing) for timing in timings]


if __name__ == "__main__":
    print(json.dumps(_contest(Contest(**json.loads(sys.argv[1])), sys.argv[2].split(","))))
