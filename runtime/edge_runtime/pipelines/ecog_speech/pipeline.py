"""ECoG → speech parameters → spectrogram and speech, with the nets `ecog-decoder` and `formant-synthesizer`.

    recording .h5 or .npy   → (16 + T, E) processed ECoG at 125 Hz, electrodes as the decoder's square grid
    windows of 144 frames   → ecog-decoder         16 past frames, 128 of its own → 128 of parameters
    parameters, noise       → formant-synthesizer  spectrogram (128, F) in scaled dB, 16384 samples
    spectrogram             → Griffin-Lim          the other way to samples: FFT 2F − 1, hop 128

A trial of a recording is one window that begins 32 frames before its onset. An array is decoded window by
window from its seventeenth frame on; the last window ends with it. Windows are independent, each with its own
phase. Noise comes from numpy's generator with `seed`, so the same input gives the same samples.

numpy and a backend are enough; h5py where the input is a recording.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.dsp.griffin_lim import griffin_lim
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.pipelines.ecog_speech.grids import (
    HB_ELECTRODES,
    HB_SIDE,
    arrange,
    broken_in,
    check_scale,
    refuse_broken,
)
from edge_runtime.pipelines.ecog_speech.nets import PARAMETERS, Arrays, ManyOutputs, audible
from edge_runtime.pipelines.ecog_speech.recordings import (
    FRAMES,
    HOP,
    PAST,
    Excerpt,
    power_of,
)
from edge_runtime.pipelines.ecog_speech.subject_file import read_trial
from edge_runtime.store.reading import read_array

Phase = Literal["both", "wave", "fgla"]
Floats = NDArray[np.float32]

SAMPLE_RATE, FRAME_RATE = 16000, 125  # Hz
ITERATIONS = 32  # of Griffin-Lim
BLOCK = 1024  # frames
FLOOR = -1.0  # of the spectrogram: this value is silence


@dataclass(frozen=True, eq=False)
class EcogSpeechResult:
    """Every stage of T frames."""

    ecog: Floats  # (16 + T, E): the decoder's input
    parameters: Arrays  # name → (rows, T)
    spectrogram: Floats  # (T, F), scaled dB, at most 1
    wave: Floats | None  # (128 T,) from the parameters
    fgla: Floats | None  # (128 T,) from the spectrogram
    noise: Arrays  # random inputs of the synthesizer for the last window


class EcogSpeech:
    """The pipeline.

    Args:
        decoder, synthesizer: bundles of `ecog-decoder` and `formant-synthesizer`, folders or open bundles.
        trial: of a recording, counted from 0; the first if not given. Refused for arrays.
        phase: "wave", "fgla", or "both".
        bad: electrodes to silence: numbers from 0, or text such as "3,17".
        coarse, extended: the first 64 of a hybrid grid, the first 100: what the decoder was trained with.
        seed: of the noise.
        backend, device, threads, precision: what executes the nets, see `edge_runtime.backends`.

    Raises:
        ConfigError: impossible options.
        BundleError: a bundle that is damaged or of another net; two that do not fit together.
        BackendError: the backend cannot run here.
    """

    def __init__(
        self,
        decoder: AnyBundle,
        synthesizer: AnyBundle,
        *,
        trial: int | None = None,
        phase: Phase = "both",
        bad: str | Sequence[int] | None = None,
        coarse: bool = False,
        extended: bool = False,
        seed: int = 0,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
    ) -> None:
        if phase not in get_args(Phase):
            raise ConfigError("--phase", got=repr(phase), expected=", ".join(get_args(Phase)))
        for name, value in (("trial", trial), ("seed", seed)):
            if value is not None and value < 0:
                raise ConfigError(f"--{name}", got=str(value), expected="a whole number, 0 or more")
        execution: dict[str, Any] = {
            "backend": backend, "device": device, "threads": threads, "precision": precision,
        }  # fmt: skip
        self.trial, self.phase, self.seed = trial, phase, seed
        self.bad = parse_bad(bad)
        self.grid = {"coarse": coarse, "extended": extended}
        self.decoder = ManyOutputs(decoder, "ecog-decoder", PARAMETERS, **execution)
        if self.decoder.manifest.config.get("wiring") == "stateful":
            raise BundleError(
                str(self.decoder.bundle.path),
                got="a decoder of wiring 'stateful', which takes frames of a stream",
                expected="one that takes windows of 144 frames",
                cause="export its weights with --set 'wiring=\"streaming\"', or use StreamingDecoder",
            )
        self.synthesizer = ManyOutputs(
            synthesizer, "formant-synthesizer", ("spectrogram", "wave"), **execution
        )
        self.electrodes = _fixed(self.decoder, "ecog", 2)
        self.bins = _fixed(self.synthesizer, "background", 1)
        trained_with = self.decoder.manifest.config.get("bins")
        if trained_with is not None and trained_with != self.bins:
            raise BundleError(
                str(self.synthesizer.bundle.path),
                got=f"a synthesizer of {self.bins} bins",
                expected=f"{trained_with} bins, as the decoder was trained with",
                cause="take the synthesizer of the decoder's own pair",
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Levels in dB that the spectrogram's −1 and 1 stand for."""
        config = self.synthesizer.manifest.config
        return float(config["floor_db"]), float(config["top_db"])

    def read(self, path: str | os.PathLike[str]) -> tuple[Floats, Excerpt | None]:
        """The ECoG (16 + T, E) that is decoded, and the trial that it is of.

        Of a recording only that trial's window is kept in memory.

        Raises:
            InputError: the file cannot be used; the sentence names it.
            ConfigError: a trial or an electrode that does not exist.
        """
        source = Path(path)
        if source.suffix.lower() == ".npy":
            return self._read_array(source), None
        excerpt = read_trial(source, self.trial or 0, bad=self.bad, **self.grid)
        try:
            if excerpt.ecog.shape[1] != self.electrodes:
                raise _other_grid(excerpt.ecog.shape[1], self.electrodes)
            if len(excerpt.noise) != self.bins:
                raise InputError(
                    "wave_re_spec_alldataset",
                    got=f"{len(excerpt.noise)} bins",
                    expected=f"{self.bins}, as the synthesizer has",
                    cause="usually 256 for women and 512 for men: use the other pair of nets",
                )
        except InputError as error:
            raise error.within(str(source)) from error
        return excerpt.ecog, excerpt

    def _read_array(self, source: Path) -> Floats:
        if self.trial is not None:
            raise ConfigError("--trial", got=f"{self.trial} for an array", expected="a recording .h5")
        values = read_array(source)
        try:
            return arrange(self._formed(values, raw=True), bad=self.bad, **self.grid)
        except InputError as error:
            raise error.within(str(source)) from error

    def process_file(self, path: str | os.PathLike[str]) -> tuple[EcogSpeechResult, Excerpt | None]:
        """Decode a file; see `read`."""
        ecog, excerpt = self.read(path)
        try:
            return self.process(ecog, None if excerpt is None else excerpt.noise), excerpt
        except InputError as error:
            raise error.within(str(path)) from error

    def process(self, ecog: NDArray[Any], background: NDArray[Any] | None = None) -> EcogSpeechResult:
        """Decode ECoG.

        Args:
            ecog: (16 + T, E) z-scores at 125 Hz; T at least 128.
            background: (F,) power of the recording's noise; none if not given.

        Raises:
            InputError: another shape, values that are not finite or cannot be z-scores.
        """
        values = self._formed(ecog)
        if values.shape[1] != self.electrodes:
            raise _other_grid(values.shape[1], self.electrodes)
        refuse_broken(broken_in(values))
        check_scale(values, numbered=self.electrodes != HB_SIDE**2)
        power = np.zeros(self.bins, np.float32) if background is None else np.asarray(background, np.float32)
        draw = np.random.default_rng(self.seed)
        frames = len(values) - PAST
        parameters: Arrays = {}
        spectrogram, wave = np.empty((frames, self.bins), np.float32), np.empty(frames * HOP, np.float32)
        for first in _windows(frames):
            span = slice(first, first + FRAMES)
            said = self.decode(values[first : first + PAST + FRAMES])
            noise = draw_noise(draw, self.bins)
            heard = audible({name: said[name][None] for name in PARAMETERS})
            made = self.synthesizer.run(heard | noise | {"background": power[None]})
            spectrogram[span] = np.minimum(made["spectrogram"][0, 0], 1)
            wave[span.start * HOP : span.stop * HOP] = made["wave"][0, 0]
            for name, rows in said.items():
                parameters.setdefault(name, np.empty((len(rows), frames), np.float32))[:, span] = rows
        return EcogSpeechResult(
            ecog=values,
            parameters=parameters,
            spectrogram=spectrogram,
            wave=wave if self.phase != "fgla" else None,
            fgla=self.from_spectrogram(spectrogram) if self.phase != "wave" else None,
            noise=noise,
        )

    def decode(self, window: NDArray[Any]) -> Arrays:
        """ECoG (144, E) → name → (rows, 128)."""
        return {name: values[0] for name, values in self.decoder.run({"ecog": window[None]}).items()}

    def from_spectrogram(self, spectrogram: NDArray[Any]) -> Floats:
        """(T, F) scaled dB → (128 T,) samples by Fast Griffin-Lim; values at the floor are silence."""
        values = np.asarray(spectrogram, np.float32)
        magnitude = np.empty(values.shape, np.float32)
        for first in range(0, len(values), BLOCK):  # powers are computed in float64: not all at once
            some = values[first : first + BLOCK]
            power = np.where(some > FLOOR, power_of(some, *self.limits), 0)
            np.sqrt(power, out=magnitude[first : first + BLOCK])
        samples = griffin_lim(
            magnitude.T,
            n_fft=2 * self.bins - 1,
            hop_length=HOP,
            n_iter=ITERATIONS,
            length=len(spectrogram) * HOP,
            padding="center-reflect",
        )
        return np.asarray(samples, np.float32)

    def _formed(self, ecog: NDArray[Any], *, raw: bool = False) -> Floats:
        """(frames, electrodes) as float32; `raw`: electrodes as recorded, before they are arranged."""
        known = {self.electrodes, HB_ELECTRODES} if raw else {self.electrodes}
        turned = ecog.ndim == 2 and ecog.shape[0] in known and ecog.shape[1] not in known
        if ecog.ndim != 2 or ecog.dtype.kind not in "fiu" or turned or len(ecog) < PAST + FRAMES:
            cause = "transposed: pass ecog.T" if turned else ""
            if ecog.dtype.kind == "c":
                cause = (
                    "analytic? give its absolute value to `edge-export data ecog`, as `envelope` in an .npz"
                )
            raise InputError(
                "ecog",
                got=f"{ecog.dtype} of shape {ecog.shape}",
                expected=f"real numbers (frames, electrodes), at least {PAST + FRAMES} frames at 125 Hz",
                cause=cause,
            )
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite
            return np.asarray(ecog, np.float32)


def draw_noise(draw: np.random.Generator, bins: int) -> Arrays:
    """The synthesizer's random inputs for one window, drawn in this order."""
    samples = FRAMES * HOP
    return {
        "noise": draw.random((1, 1, samples), np.float32),
        "background_noise": draw.standard_normal((1, 1, samples), np.float32),
        "phase": draw.random((1, bins, FRAMES), np.float32),
    }


def parse_bad(bad: str | Sequence[int] | None) -> tuple[int, ...]:
    """Numbers of electrodes; ConfigError where a text holds something else."""
    if bad is None or not isinstance(bad, str):
        return tuple(bad or ())
    try:
        return tuple(int(part) for part in bad.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError("--bad", got=repr(bad), expected="numbers of electrodes, such as 3,17") from error


def _windows(frames: int) -> list[int]:
    """First frames of windows that cover so many; the last one ends with them."""
    starts = list(range(0, frames - FRAMES + 1, FRAMES))
    return starts if starts[-1] + FRAMES == frames else [*starts, frames - FRAMES]


def _fixed(net: ManyOutputs, name: str, axis: int) -> int:
    size = net.inputs[name][axis]
    if not isinstance(size, int):
        raise BundleError(
            f"{net.bundle.path}: inputs", got=f"an axis {size} of {name}", expected="a fixed length"
        )
    return size


def _other_grid(got: int, wanted: int) -> InputError:
    return InputError(
        "ecog",
        got=f"{got} electrodes",
        expected=f"the {wanted} electrodes of the decoder",
        cause="decoders of 8 × 8 grids take 64, those of hybrid grids 225; --coarse takes the first 64 of a "
        "hybrid grid, --extended the first 100",
    )
