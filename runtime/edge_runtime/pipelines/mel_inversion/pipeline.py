"""Mel → magnitude → audio: without any model, or better with a net for either step.

    mel (n_mels, frames)          of a recording, or a .npy in the unit of the front end
      │ pseudo-inverse and multiplicative updates (`edge_runtime.dsp.magnitude`), or the net `mel-inversion`
    magnitude (bins, frames)      of the signal as the front end conditioned it
      │ pre-emphasis divided out, frames added as the padding of the phase step needs
    target (bins, frames + a few)
      │ Griffin-Lim and its relatives (`edge_runtime.dsp.griffin_lim`), or blocks of the net `degli`
    samples (n,)                  cut to the recording, at its level

The result equals that of the whole recording, so nothing drifts and there are no clicks at joints, but the
large arrays are computed in pieces along time. The net `mel-inversion` runs in chunks of frames, each with
``context_frames`` of its neighbours, whose output is dropped. Where every frame depends on all frames
(U-nets, min-max normalisation) the bundle states no context and the net runs once. Griffin-Lim runs all its
iterations on one chunk after the other, each with the neighbours that its frames depend on
(`edge_runtime.dsp.long_griffin_lim`). So does DeGLI, its net in chunks as above; STFT(ISTFT(·)) is computed
here where the graph holds the net only (`graph` "net"), inside of the graph where it holds the whole block
("block").

Alignment: frame m of a front end is centred on sample ``n_fft // 2 - pad + m · hop``. Griffin-Lim takes the
front end's own padding, except "none", with which the ends, covered by part of a window only, would be faded
or amplified. There, and for a DeGLI with another padding, the frames' centres do not match: frames are
mirrored beyond both ends until the recording is covered, and the samples outside of it are cut off.

Level: what the front end's conditioning removed (mean, deviation, peak) is restored where the recording is
known. From a mel alone it cannot be; with `standardize` or `spectrum_range_db` the result then has a peak of
0.95.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.dsp.griffin_lim import Algorithm, griffin_lim
from edge_runtime.dsp.long_griffin_lim import Columns, long_griffin_lim
from edge_runtime.dsp.magnitude import UPDATES, check_mel, estimate_magnitude, linear_mel, looks_logarithmic
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.dsp.quality import figures_of_pieces
from edge_runtime.dsp.spectral import Array, Stft
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import Audio, read_audio
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.pipelines.mel_inversion.conditioning import (
    conditioning_of,
    loses_level,
    of_magnitude,
    of_plain_magnitude,
    restore,
    silence,
    uncompressed,
)
from edge_runtime.pipelines.mel_inversion.layout import FrameLayout, LaidOut
from edge_runtime.pipelines.mel_inversion.nets import NET, MagnitudeNet, PhaseNet
from edge_runtime.pipelines.registry import get_system
from edge_runtime.pipelines.vocoder.pipeline import CHUNK_FRAMES
from edge_runtime.store.mels import doubt_scale, is_array_file, read_mel

DEFAULT_FRONT_END = "mel-inversion"
ITERATIONS, BLOCKS = 64, 10  # of the Griffin-Lim family, of DeGLI
MOMENTUM = 0.99
PIECE = 1024  # frames at a time, whole blocks of `estimate_magnitude`


@dataclass(frozen=True, eq=False)
class MelInversionResult:
    """Every stage of one recording."""

    mel: Array  # (n_mels, frames), in the unit of the front end
    estimate: Array  # (bins, frames): pseudo-inverse and updates
    magnitude: (
        Array  # (bins, frames): the net's, or the estimate; of the signal as the front end conditioned it
    )
    target: Array  # (bins, frames + a few): magnitude of the signal itself, as the phase step takes it
    samples: NDArray[np.float32]  # (n,)
    level_known: bool  # False: the level is not in the mel, the peak is 0.95


@dataclass(frozen=True, eq=False)
class LongInversion:
    """As `MelInversionResult`, with estimate and magnitude where a `Room` put them."""

    mel: Array
    estimate: Columns | None  # None where it is not asked for
    magnitude: Columns
    samples: NDArray[np.float32]
    level_known: bool


# (stage, shape) → an array or file to write it into
Room = Callable[[Literal["estimate", "magnitude"], tuple[int, int]], "WritableColumns"]


class WritableColumns(Columns, Protocol):
    """`Columns` that are written frames by frames."""

    def __setitem__(self, key: Any, values: Any, /) -> None: ...


class MelInversion:
    """The pipeline.

    Args:
        bundle: of the `mel-inversion` net, for the magnitude; None for pseudo-inverse and updates.
        degli: bundle of the `degli` net, for the phase; None for the Griffin-Lim family.
        preset: the front end, a name in `PRESETS` or a configuration, where no `mel-inversion` bundle states
            it.
        phase: "fgla", "gla", "agla", "admm" (see `edge_runtime.dsp.griffin_lim`) or "degli"; by default
            "degli" with its bundle, else "fgla".
        iterations: of the phase step; 64 of the Griffin-Lim family or 10 blocks of DeGLI by default.
        updates: multiplicative updates of the estimate, 0 for only the pseudo-inverse.
        momentum: of fgla and agla; the others have none.
        linear: mels given to the pipeline are linear, without the logarithm and scale of the front end.
        backend, device, threads: what executes the nets: a name in `edge_runtime.backends`, or a `Backend`.
        precision: of the artifacts, "fp32" or "fp16".
        chunk_frames: most frames per run of a net that takes any number; memory grows with it.
        length_buckets: run nets in few lengths (32, 48, 64, 96 … `chunk_frames`), so that a new number of
            frames costs nothing on a GPU; up to twice the work.
        progress: told which array of a file was taken.

    Raises:
        ConfigError: options that contradict each other, or a front end that cannot be inverted.
        BundleError: a damaged bundle, or one of another net.
        BackendError: the backend cannot run here.

    >>> pipeline = MelInversion(preset="mel-inversion", iterations=2, updates=0)
    >>> mel = pipeline.mel(np.sin(np.arange(4096) / 5))
    >>> mel.shape, pipeline.invert(mel).samples.shape
    ((80, 17), (4096,))
    """

    def __init__(
        self,
        bundle: AnyBundle | None = None,
        degli: AnyBundle | None = None,
        *,
        preset: str | MelConfig | None = None,
        phase: str | None = None,
        iterations: int | None = None,
        updates: int = UPDATES,
        momentum: float | None = None,
        linear: bool = False,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        chunk_frames: int = CHUNK_FRAMES,
        length_buckets: bool = False,
        progress: Callable[[str], object] = lambda _line: None,
    ) -> None:
        options: dict[str, Any] = {
            "backend": backend, "device": device, "threads": threads, "precision": precision
        }  # fmt: skip
        self.threads, self.progress = threads, progress
        self.linear = linear
        self.phase = _check_phase(phase, degli is not None)
        self.iterations = _count("iterations", iterations, BLOCKS if self.phase == "degli" else ITERATIONS)
        self.updates = _count("updates", updates, UPDATES)
        if momentum is not None and self.phase not in ("fgla", "agla"):
            raise ConfigError(
                "--momentum", got=f"{momentum} beside phase {self.phase}", expected="it beside fgla or agla"
            )
        self.momentum = _check_momentum(MOMENTUM if momentum is None else momentum)
        few = {"length_buckets": length_buckets}
        self.net = None if bundle is None else MagnitudeNet(bundle, chunk_frames, options, **few)
        self.front_end_is_given = self.net is not None or preset is not None
        self.front_end = _check_front_end(self.net.front_end if self.net else None, preset)
        self.degli = None if degli is None else PhaseNet(degli, self.front_end, chunk_frames, options, **few)
        self._silence = silence(self.front_end)
        self.frames = FrameLayout(self.front_end.stft, self.degli.stft.config if self.degli else None)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the result, Hz."""
        return self.front_end.sample_rate

    @property
    def executed_by(self) -> str:
        """What computes each of the two steps, in words."""
        magnitude = self.net.net.detail if self.net else f"pseudo-inverse, {self.updates} updates, numpy"
        phase = self.degli.net.detail if self.degli else "numpy"
        return f"magnitude: {magnitude}; phase: {self.iterations} iterations of {self.phase}, {phase}"

    def mel(self, audio: ArrayLike) -> NDArray[np.float32]:
        """(samples,) floats at `sample_rate` → the mel, (n_mels, frames)."""
        return np.asarray(self._mel(np.asarray(audio), "float32"), np.float32)

    def process(self, audio: ArrayLike) -> MelInversionResult:
        """Audio (samples,) at `sample_rate` → mel → audio of the same length and loudness.

        Raises:
            InputError: not one channel of finite floats, or too short for one frame.
        """
        samples = np.asarray(audio)
        return self._invert(self._mel(samples, "float32"), samples, "float32")

    def invert(self, mel: ArrayLike) -> MelInversionResult:
        """Audio of a mel.

        Args:
            mel: (n_mels, frames), as `mel` gives it; linear mels where the pipeline has ``linear``.

        Returns:
            Stages and samples. The samples are those that the frames cover: hop · frames with HiFi-GAN's
            padding, hop · (frames − 1) with centred frames.

        Raises:
            InputError: another shape, values that are not finite, or values impossible in such a mel.
        """
        return self._invert(self._as_the_front_end(np.asarray(mel)), None, "float32")

    def linear_mel(self, mel: Array) -> Array:
        """The mel before scale and logarithm, both (n_mels, frames); values at the floor become 0."""
        linear = linear_mel(mel, self.front_end)
        return np.where(mel <= self._silence, linear.dtype.type(0), linear)

    def read_source(self, path: str | os.PathLike[str], dtype: str = "float32") -> tuple[Array, Audio | None]:
        """The mel (n_mels, frames) in a .npy file, or of an audio file, and the audio of the latter.

        Raises:
            InputError: the file cannot be processed; the error names it.
            ConfigError: a .npy file, and neither a bundle nor ``preset`` says which front end made it.
        """
        if not is_array_file(path):
            if self.linear:
                raise ConfigError(
                    "--linear",
                    got=f"an audio file, {path}",
                    expected="a mel in a .npy file",
                    cause="leave the option out: the mel of audio is computed here",
                )
            audio = read_audio(path, self.sample_rate)
            with pack.naming(path):
                return self._mel(audio.samples, dtype), audio
        if not self.front_end_is_given:
            raise ConfigError(
                "--preset",
                got="no front end for a mel in a file",
                expected=f"the one that made it, one of {', '.join(PRESETS)}",
                cause="a bundle of the net mel-inversion would state it too",
            )
        mel = read_mel(path, self.front_end.bands, self.progress)
        with pack.naming(path):
            taken = self._as_the_front_end(mel)
        if not self.linear:
            doubt_scale(mel, self.front_end, path)
        return taken, None

    def process_file(
        self, path: str | os.PathLike[str], dtype: str = "float32"
    ) -> tuple[MelInversionResult, Audio | None]:
        """`process` or `invert` of a file, and its audio where it is an audio file; errors name the file.

        ``dtype``, "float32" or "float64" (reference packs), is the precision of all but the nets. The stages
        have the shapes of `MelInversionResult`, samples (n,) among them.
        """
        mel, audio = self.read_source(path, dtype)
        with pack.naming(path):
            return self._invert(mel, None if audio is None else audio.samples, dtype), audio

    def process_long_file(
        self, path: str | os.PathLike[str], room: Room
    ) -> tuple[LongInversion, Audio | None]:
        """`process_file` for recordings of any length; ``room`` supplies space for the large stages.

        The samples (n,) equal those of `process_file`. Memory grows only with audio, mel and samples, except
        for nets whose bundle states no ``context_frames``: they run once over the whole recording.
        """
        mel, audio = self.read_source(path)
        with pack.naming(path):
            samples = None if audio is None else audio.samples
            made, _ = self._stages(mel, samples, "float32", room, estimated=audio is not None)
            return made, audio

    def measure(
        self, audio: ArrayLike, result: MelInversionResult | LongInversion
    ) -> dict[str, dict[str, float]]:
        """How near a result is to its recording (samples,), by the measures of `edge_runtime.dsp.quality`.

        Returns:
            "estimate" and "magnitude" compare these stages with the magnitude of the recording as the front
            end conditioned it, "result" compares the magnitudes of the two signals themselves; each holds
            `si_ssdr_db`, `spectral_convergence`, `spectral_convergence_db` and `log_spectral_distance_db`.
        """
        samples = np.asarray(audio)
        assert result.estimate is not None  # of audio it is always asked for
        truth = MelFrontEnd(of_magnitude(self.front_end))
        largest = 1.0
        if self.front_end.spectrum_range_db is not None:
            largest = max(float(block.max()) for _, block in truth.blocks(samples)) or 1.0

        def beside(stage: Columns) -> Iterator[tuple[Array, Array]]:
            for start, block in truth.blocks(samples):
                yield block / largest, np.asarray(stage[:, start : start + block.shape[1]])

        stages = {"estimate": result.estimate, "magnitude": result.magnitude}
        figures = {name: figures_of_pieces(partial(beside, stage)) for name, stage in stages.items()}
        heard = (samples, result.samples)
        figures["result"] = figures_of_pieces(lambda: zip(*map(self.spectrum, heard), strict=True))
        return figures

    def spectrum(self, samples: ArrayLike) -> Iterator[Array]:
        """Magnitude of a signal (samples,) in the framing of the front end, in blocks (bins, n)."""
        signal = np.asarray(samples)
        missing = max(0, self.front_end.min_samples - signal.size)
        front_end = MelFrontEnd(of_plain_magnitude(self.front_end))
        for _, block in front_end.blocks(np.pad(signal, (0, missing)) if missing else signal):
            yield block

    def save_reference(
        self, path: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write the pack of a file, see `edge_runtime.pipelines.mel_inversion.pack`; returns ``out``.

        Raises:
            TargetError: ``out`` cannot be written, or exists and is not a pack, or ``overwrite`` is not
                given.
            EdgeError: the file cannot be processed.
        """
        return get_system("mel-inversion").save_reference(self, out, overwrite=overwrite, source=path)

    # ---- the steps -----------------------------------------------------------------------------------------

    def _mel(self, audio: Array, dtype: str) -> Array:
        return MelFrontEnd(self.front_end, dtype, workers=self.threads or 1)(audio)

    def _as_the_front_end(self, mel: Array) -> Array:
        """A mel from outside, in the unit of the front end; InputError where its values cannot be such."""
        if not self.linear or self.front_end.log == "none":
            _check_is_compressed(mel, self.front_end)
            check_mel(mel, self.front_end)
            return mel
        if mel.ndim == 2 and len(mel) == self.front_end.bands and _is_logarithmic(mel):
            raise InputError(
                "mel",
                got=f"negative values, {mel.min():.4g} … {mel.max():.4g}",
                expected="linear values, at least 0",
                cause="these look like logarithms: leave out linear (--linear)",
            )
        front_end = uncompressed(self.front_end)
        values = check_mel(mel, front_end)
        compress = MelFrontEnd(self.front_end, str(values.dtype)).compress
        if self.front_end.top_db is not None:  # below the largest of all
            return compress(linear_mel(values, front_end))
        result = np.empty_like(values)
        for start in range(0, values.shape[1], PIECE):
            piece = slice(start, start + PIECE)
            result[:, piece] = compress(linear_mel(values[:, piece], front_end))
        return result

    def _invert(self, mel: Array, audio: Array | None, dtype: str) -> MelInversionResult:
        def room(_: str, shape: tuple[int, int]) -> Array:
            return np.empty(shape, dtype)

        made, target = self._stages(mel, audio, dtype, room)
        assert made.estimate is not None
        return MelInversionResult(
            mel,
            np.asarray(made.estimate),
            np.asarray(made.magnitude),
            target[:, :],
            made.samples,
            made.level_known,
        )

    def _stages(
        self, mel: Array, audio: Array | None, dtype: str, room: Room, *, estimated: bool = True
    ) -> tuple[LongInversion, LaidOut]:
        """All steps; beside what `room` holds, memory grows with mel and samples alone.

        ``estimated``: give the estimate too where a net takes its place.
        """
        estimate: Columns | None = None
        if estimated or self.net is None:
            estimate = self._estimate(mel, dtype, room)
        if self.net is None:
            assert estimate is not None
            magnitude = estimate
        else:
            magnitude = into = room("magnitude", (self.front_end.stft.bins, mel.shape[1]))
            self.net(mel.astype("float32", copy=False), self._silence, into)
        samples, target = self._sound(magnitude, audio)
        level_known = audio is not None or not loses_level(self.front_end)
        return LongInversion(mel, estimate, magnitude, samples, level_known), target

    def sound_of(self, magnitude: Columns) -> NDArray[np.float32]:
        """A magnitude (bins, frames), as a net gave it → samples (n,): the phase step and the level."""
        return self._sound(magnitude, None)[0]

    def _sound(self, magnitude: Columns, audio: Array | None) -> tuple[NDArray[np.float32], LaidOut]:
        conditioning = None if audio is None else conditioning_of(audio, self.front_end)
        length = self.frames.natural_length(magnitude.shape[1]) if audio is None else audio.size
        target = self.frames.lay_out(magnitude, length, self.front_end)
        conditioned = self.reconstruct(target, length)
        same = conditioned if conditioned.dtype == np.float32 else None  # no second array of this length
        return restore(conditioned, self.front_end, conditioning, same), target

    def _estimate(self, mel: Array, dtype: str, room: Room) -> Columns:
        """Pseudo-inverse and updates, frames by frames."""
        frames = mel.shape[1]
        stage: Literal["estimate", "magnitude"] = "estimate" if self.net else "magnitude"
        estimate = room(stage, (self.front_end.stft.bins, frames))
        for start in range(0, frames, PIECE):
            piece = slice(start, start + PIECE)
            linear = self.linear_mel(mel[:, piece].astype(dtype, copy=False))
            estimate[:, piece] = estimate_magnitude(linear, self.front_end, self.updates)
        return estimate

    def reconstruct(
        self, target: Columns, length: int, iterations: int | None = None, start: Array | None = None
    ) -> Array:
        """The phase step: target (bins, frames) → samples (length,), still conditioned.

        Memory grows only with the samples, except with ``start``.

        ``start``: complex, the target with the phase to begin from; by default zero.
        """
        count = self.iterations if iterations is None else iterations
        total = self.frames.offset + length
        if self.phase == "degli":
            assert self.degli is not None  # the constructor refuses
            samples = self.degli(target, count, total, start)
        else:
            framing = self.frames.phase
            options: dict[str, Any] = {
                "n_fft": framing.n_fft,
                "hop_length": framing.hop_length,
                "win_length": framing.win_length,
                "n_iter": count,
                "momentum": self.momentum,
                "algorithm": self.phase,
                "length": total,
                "padding": framing.padding,
            }
            if start is None:
                samples = long_griffin_lim(target, **options)
            else:
                samples = griffin_lim(np.asarray(target[:, :]), init=start, **options)
        return samples[self.frames.offset :]


# ---- refusals ---------------------------------------------------------------------------------------------


def _check_phase(phase: str | None, has_degli: bool) -> Algorithm | Literal["degli"]:
    known: tuple[Algorithm | Literal["degli"], ...] = (*get_args(Algorithm), "degli")
    found = next((name for name in known if name == (phase or ("degli" if has_degli else "fgla"))), None)
    if found is None:
        raise ConfigError("phase", got=repr(phase), expected=f"one of {', '.join(known)}")
    if has_degli and found != "degli":
        raise ConfigError(
            "phase",
            got=f"{phase} with a bundle of the net degli",
            expected="phase degli with it",
            cause="leave out the phase or the bundle",
        )
    if not has_degli and found == "degli":
        raise ConfigError(
            "phase",
            got="degli without a bundle of that net",
            expected="its bundle (--bundle), or one of fgla, gla, agla, admm, which need none",
        )
    return found


def _count(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(name, got=repr(value), expected="a whole number, at least 0")
    return value


def _check_momentum(momentum: float) -> float:
    if not isinstance(momentum, (int, float)) or not 0 <= momentum < 2:
        raise ConfigError("momentum", got=repr(momentum), expected="a number from 0 to below 2")
    return momentum


def _check_front_end(of_net: MelConfig | None, preset: str | MelConfig | None) -> MelConfig:
    """The front end of the net, else of the option, else the default; ConfigError if it has no inverse."""
    if preset is not None and not isinstance(preset, MelConfig) and preset not in PRESETS:
        raise ConfigError("preset", got=repr(preset), expected=f"one of {', '.join(PRESETS)}")
    asked = PRESETS[preset] if isinstance(preset, str) else preset
    if of_net is not None and asked is not None and asked != of_net:
        raise ConfigError(
            "preset",
            got=f"{preset if isinstance(preset, str) else 'another one'} with a bundle of the net {NET}",
            expected="no preset with such a bundle",
            cause="the bundle states the mel that its net was trained on",
        )
    config = of_net or asked or PRESETS[DEFAULT_FRONT_END]
    if not Stft(config.stft).covers_every_sample:
        raise ConfigError(
            "hop_length",
            got=f"{config.hop_length} samples with a window of {config.win_length}",
            expected="less than the window",
            cause="the windows leave samples out, so this front end has no inverse",
        )
    return config


def _is_logarithmic(mel: Array) -> bool:
    return mel.dtype.kind in "iuf" and mel.size > 0 and looks_logarithmic(float(mel.min()), float(mel.max()))


def _check_is_compressed(mel: Array, config: MelConfig) -> None:
    """Refuse linear values where a logarithm is expected: none below 0, and most of them near it."""
    if config.log == "none" or mel.dtype.kind not in "iuf" or not mel.size:
        return
    lowest, highest = float(mel.min()), float(mel.max())
    if lowest >= 0 and highest > 0 and float(np.median(mel)) < 0.2 * highest:
        raise InputError(
            "mel",
            got=f"values from {lowest:.4g} to {highest:.4g}, none negative and most near 0",
            expected="logarithms, as the front end gives them",
            cause="these look like a linear mel: pass linear (--linear)",
        )
