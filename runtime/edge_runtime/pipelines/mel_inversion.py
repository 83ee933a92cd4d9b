"""Mel → magnitude → audio: at once without any model, better with a net for either step.

    mel (n_mels, frames)          of a recording, or a .npy in the unit of the front end
      │ pseudo-inverse and multiplicative updates (`edge_runtime.magnitude`), or the net `mel-inversion`
    magnitude (bins, frames)      of the signal as the front end conditioned it
      │ pre-emphasis divided out, frames laid as the phase step counts them
    target (bins, frames + a few)
      │ Griffin-Lim and its relatives (`edge_runtime.griffin_lim`), or blocks of the net `degli`
    samples (n,)                  cut to the recording, at its level

The whole recording goes through at once, so nothing drifts and no joint clicks. The net `mel-inversion` runs
in chunks of frames, each with ``context_frames`` of its neighbours whose output is dropped: what comes out is
that of one run. Where every frame depends on all (U-nets, min-max normalisation) the bundle states no context
and the net runs once. Griffin-Lim works on the whole target. A DeGLI block is computed for the whole target
before the next begins: the net in chunks as above; STFT(ISTFT(·)) here where the graph is the net alone
(`graph` "net"), inside of the graph where it is the block ("block").

Alignment: frame m of a front end is centred on sample ``n_fft // 2 - pad + m · hop``. Griffin-Lim takes the
front end's own padding, but for "none": there an end that is seen through part of a window only would be
faded or blown up. It, and a DeGLI of another padding, get frames that are centred elsewhere: frames are
mirrored beyond both ends until the recording is covered, and the samples outside of it are cut off.

Level: what the front end's conditioning took away (mean, deviation, peak) is given back where the recording
is known. Of a mel alone it is lost: `standardize` and `spectrum_range_db` then give a peak of 0.95.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.audio import Audio, read_audio
from edge_runtime.backends.base import Backend
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.griffin_lim import ADMM_RHO, AGLA_BETA, AGLA_GAMMA, Algorithm, griffin_lim
from edge_runtime.magnitude import UPDATES, estimate_magnitude, linear_mel
from edge_runtime.mel import PRESETS, MelConfig, MelFrontEnd, mean_and_gain
from edge_runtime.pipelines import pack
from edge_runtime.pipelines.net import AnyBundle, BundleNet, Shape
from edge_runtime.pipelines.vocoder import CHUNK_FRAMES, Chunk, plan_chunks
from edge_runtime.quality import (
    log_spectral_distance,
    si_ssdr,
    spectral_convergence,
    spectral_convergence_db,
)
from edge_runtime.spectral import Array, Stft, StftConfig

NET, PHASE_NET = "mel-inversion", "degli"
DEFAULT_FRONT_END = "mel-inversion"
ITERATIONS, BLOCKS = 64, 10  # of the Griffin-Lim family, of DeGLI
MOMENTUM = 0.99
PEAK = 0.95  # of audio whose level the mel does not hold
TOLERANCE = 1e-3  # what `edge-export check` allows by default


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
    level_known: bool  # False: the mel does not hold it, the peak is 0.95


@dataclass(frozen=True)
class Conditioning:
    """What a front end did to a recording before its transform: ``(x − mean) · gain``."""

    mean: float
    gain: float
    deviation: float  # standard deviation of the result


class MelInversion:
    """The pipeline.

    Args:
        bundle: of the `mel-inversion` net, for the magnitude; None for pseudo-inverse and updates.
        degli: bundle of the `degli` net, for the phase; None for the Griffin-Lim family.
        preset: name in `PRESETS` of the front end, or a configuration, where no `mel-inversion` bundle says
            it.
        phase: "fgla", "gla", "agla", "admm" (see `edge_runtime.griffin_lim`) or "degli"; by default "degli"
            with its bundle, else "fgla".
        iterations: of the phase step; 64 of the Griffin-Lim family or 10 blocks of DeGLI by default.
        updates: multiplicative updates of the estimate, 0 for the pseudo-inverse alone.
        momentum: of fgla; the other algorithms have constants of their own.
        linear: mels that are given are linear, without the logarithm and scale of the front end.
        backend, device, threads: what executes the nets: a name in `edge_runtime.backends`, or a `Backend`.
        precision: of the artifacts, "fp32" or "fp16".
        chunk_frames: most frames per run of a net that takes any number; memory grows with it.

    Raises:
        ConfigError: options that contradict each other, or a front end that cannot be inverted.
        BundleError: a damaged bundle, or one of another net.
        BackendError: the backend cannot run here.
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
        momentum: float = MOMENTUM,
        linear: bool = False,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        chunk_frames: int = CHUNK_FRAMES,
    ) -> None:
        options: dict[str, Any] = {
            "backend": backend, "device": device, "threads": threads, "precision": precision
        }  # fmt: skip
        self.threads = threads
        self.linear = linear
        self.phase = _check_phase(phase, degli is not None)
        self.iterations = _count("iterations", iterations, BLOCKS if self.phase == "degli" else ITERATIONS)
        self.updates = _count("updates", updates, UPDATES)
        self.momentum = _check_momentum(momentum)
        self.net = None if bundle is None else MagnitudeNet(bundle, chunk_frames, options)
        self.front_end_is_given = self.net is not None or preset is not None
        self.front_end = _check_front_end(self.net.front_end if self.net else None, preset)
        self.degli = None if degli is None else PhaseNet(degli, self.front_end, chunk_frames, options)
        self._silence = _silence(self.front_end)
        self.frames = FrameLayout(self.front_end.stft, self.degli.stft.config if self.degli else None)

    @property
    def sample_rate(self) -> int:
        """Of the audio that comes out, Hz."""
        return self.front_end.sample_rate

    @property
    def executed_by(self) -> str:
        """What computed each of the two steps."""
        magnitude = self.net.net.detail if self.net else f"pseudo-inverse, {self.updates} updates, numpy"
        phase = self.degli.net.detail if self.degli else "numpy"
        return f"magnitude: {magnitude}; phase: {self.iterations} iterations of {self.phase}, {phase}"

    def mel(self, audio: ArrayLike) -> NDArray[np.float32]:
        """(samples,) floats at `sample_rate` → the mel, (n_mels, frames)."""
        return np.asarray(self._mel(np.asarray(audio), "float32"), np.float32)

    def process(self, audio: ArrayLike) -> MelInversionResult:
        """Audio → mel → audio, as long and as loud as what was given.

        Raises:
            InputError: not one channel of finite floats, or too short for one frame.
        """
        samples = np.asarray(audio)
        return self._invert(self._mel(samples, "float32"), samples, "float32")

    def invert(self, mel: ArrayLike) -> MelInversionResult:
        """Audio of a mel.

        Args:
            mel: (n_mels, frames), as `mel` gives it; linear where the pipeline was told so.

        Returns:
            Stages and samples: as many as the frames cover, hop · frames for HiFi-GAN's padding,
            hop · (frames − 1) for centred frames.

        Raises:
            InputError: another shape, values that are not finite, or that no such mel has.
        """
        return self._invert(self._as_the_front_end(np.asarray(mel)), None, "float32")

    def linear_mel(self, mel: Array) -> Array:
        """The mel before scale and logarithm; what stands at their floor is silence, not that value."""
        linear = linear_mel(mel, self.front_end)
        return np.where(mel <= self._silence, linear.dtype.type(0), linear)

    def read_source(self, path: str | os.PathLike[str], dtype: str = "float32") -> tuple[Array, Audio | None]:
        """The mel in a .npy file as the front end would have given it, or of an audio file, and that audio.

        Raises:
            InputError: the file is refused, by its name.
            ConfigError: a .npy of which nobody said what front end made it.
        """
        if Path(path).suffix.lower() != ".npy":
            audio = read_audio(path, self.sample_rate)
            with pack.naming(path):
                return self._mel(audio.samples, dtype), audio
        if not self.front_end_is_given:
            raise ConfigError(
                "--preset",
                met="none for a mel in a file",
                expected=f"the front end that made it, one of {', '.join(PRESETS)}",
                cause="or a bundle of the net mel-inversion, which says it",
            )
        mel = pack.load_array(path)
        with pack.naming(path):
            return self._as_the_front_end(mel), None

    def process_file(self, path: str | os.PathLike[str]) -> tuple[MelInversionResult, Audio | None]:
        """`process` or `invert` of a file, and the recording that was in it; refusals name the file."""
        mel, audio = self.read_source(path)
        with pack.naming(path):
            return self._invert(mel, None if audio is None else audio.samples, "float32"), audio

    def measure(self, audio: ArrayLike, result: MelInversionResult) -> dict[str, dict[str, float]]:
        """How near a result came to its recording, (samples,): figures of `edge_runtime.quality`.

        Returns:
            "estimate" and "magnitude" against the magnitude of the recording as the front end conditioned it,
            "result" the magnitudes of the two signals themselves, each with `si_ssdr_db`,
            `spectral_convergence`, `spectral_convergence_db` and `log_spectral_distance_db`.
        """
        samples = np.asarray(audio)
        truth = MelFrontEnd(_magnitude_config(self.front_end))(samples)
        if self.front_end.spectrum_range_db is not None:
            truth = truth / (truth.max() or 1.0)
        plain = MelFrontEnd(_plain_config(self.front_end))
        return {
            "estimate": _figures(truth, result.estimate),
            "magnitude": _figures(truth, result.magnitude),
            "result": _figures(plain(samples), plain(result.samples)),
        }

    def spectrum(self, samples: ArrayLike) -> Array:
        """Magnitude (bins, frames) of a signal in the framing of the front end, for pictures."""
        return MelFrontEnd(_plain_config(self.front_end))(np.asarray(samples))

    def save_reference(
        self, path: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write a reference pack: every stage, computed in float64 where no net is, and JSON.

        Args:
            path: an audio file – its samples are then part of the pack – or a mel, a .npy file.
            out: folder to make.
            overwrite: replace an older pack.

        Raises:
            TargetError: ``out`` exists or cannot be written.
            EdgeError: as `read_source`.
        """
        mel, audio = self.read_source(path, "float64")
        with pack.naming(path):
            result = self._invert(mel, None if audio is None else audio.samples, "float64")
        with pack.replace_pack(out, overwrite) as folder:
            _write_pack(folder, Path(path).name, audio, result, self)
        return Path(out)

    # ---- the steps -----------------------------------------------------------------------------------------

    def _mel(self, audio: Array, dtype: str) -> Array:
        return MelFrontEnd(self.front_end, dtype, workers=self.threads or 1)(audio)

    def _as_the_front_end(self, mel: Array) -> Array:
        """A mel that was given, in the unit of the front end; refused where it is of another kind."""
        if not self.linear or self.front_end.log == "none":
            _check_is_compressed(mel, self.front_end)
            linear_mel(mel, self.front_end)  # checks it
            return mel
        if mel.dtype.kind in "iuf" and mel.size and mel.min() < 0:
            raise InputError(
                "mel",
                met=f"negative values, {mel.min():.4g} … {mel.max():.4g}",
                expected="linear values, at least 0",
                cause="these look like logarithms: leave out linear (--linear)",
            )
        linear = linear_mel(mel, _uncompressed(self.front_end))
        return MelFrontEnd(self.front_end, str(linear.dtype)).compress(linear)

    def _invert(self, mel: Array, audio: Array | None, dtype: str) -> MelInversionResult:
        values = mel.astype(dtype, copy=False)
        estimate = estimate_magnitude(self.linear_mel(values), self.front_end, self.updates)
        magnitude = self.net(values, self._silence).astype(dtype, copy=False) if self.net else estimate
        conditioning = None if audio is None else _conditioning(audio, self.front_end)
        length = self.frames.natural_length(mel.shape[1]) if audio is None else audio.size
        target = self.frames.lay_out(_without_pre_emphasis(magnitude, self.front_end), length)
        samples = self.reconstruct(target, length)
        level_known = audio is not None or not _loses_level(self.front_end)
        return MelInversionResult(
            mel, estimate, magnitude, target, _restore(samples, self.front_end, conditioning), level_known
        )

    def reconstruct(self, target: Array, length: int, iterations: int | None = None) -> Array:
        """The phase step: magnitude (bins, frames) in its layout → (length,) samples as conditioned."""
        count = self.iterations if iterations is None else iterations
        total = self.frames.offset + length
        if self.phase == "degli":
            assert self.degli is not None  # the constructor refuses
            samples = self.degli(target, count, total)
        else:
            framing = self.frames.phase
            samples = griffin_lim(
                target,
                n_fft=framing.n_fft,
                hop_length=framing.hop_length,
                win_length=framing.win_length,
                n_iter=count,
                momentum=self.momentum,
                algorithm=self.phase,
                length=total,
                padding=framing.padding,
            )
        return samples[self.frames.offset :]


# ---- where frames stand -----------------------------------------------------------------------------------


class FrameLayout:
    """How the frames of a front end become frames of the phase step.

    Args:
        front_end: framing of the mel.
        phase: framing of the phase step; None for Griffin-Lim, which takes any but "none".
    """

    def __init__(self, front_end: StftConfig, phase: StftConfig | None) -> None:
        self._config = front_end
        self._hop = front_end.hop_length
        self.phase = phase or (
            replace(front_end, padding="center-zero") if front_end.padding == "none" else front_end
        )
        ahead = _first_centre(front_end) - _first_centre(self.phase)
        self.before = max(0, -(-ahead // self._hop))  # frames mirrored before the first
        self.offset = self.before * self._hop - ahead  # samples before the recording

    def natural_length(self, frames: int) -> int:
        """Samples that so many frames cover, `InputError` if none."""
        config = self._config
        covered = config.n_fft + (frames - 1) * self._hop - 2 * config.pad
        if covered < 1:
            raise InputError("mel", met=f"{frames} frame", expected="at least 2, which enclose samples")
        return covered

    def lay_out(self, magnitude: Array, length: int) -> Array:
        """(bins, frames) → the same, frames mirrored at both ends until ``length`` samples are covered."""
        frames = magnitude.shape[1]
        phase = self.phase
        needed = max(
            1 + (self.offset + length + 2 * phase.pad - phase.n_fft) // self._hop,  # those that cover it all
            1 + -(-phase.min_samples // self._hop),  # those whose audio can be transformed again
        )
        after = max(0, needed - frames - self.before)
        return np.ascontiguousarray(np.pad(magnitude, ((0, 0), (self.before, after)), mode="symmetric"))


def _first_centre(config: StftConfig) -> int:
    """Sample on which the first frame is centred."""
    return config.n_fft // 2 - config.pad


# ---- the nets ---------------------------------------------------------------------------------------------


class MagnitudeNet:
    """The net `mel-inversion`: mel as its front end gives it (n_mels, frames) → magnitude (bins, frames)."""

    def __init__(self, bundle: AnyBundle, chunk_frames: int, options: Mapping[str, Any]) -> None:
        self.net = BundleNet(bundle, NET, takes=(None, None, None), gives=(None, None, None), **options)
        front_end = self.net.manifest.front_end
        if front_end is None:
            raise BundleError(
                str(self.net.bundle.path), met="no front_end", expected="the mel of the net's training"
            )
        self.front_end: MelConfig = front_end
        self.domain = self._check_domain()
        self._chunks = Chunks(self.net, 2, chunk_frames)

    def __call__(self, mel: Array, silence: float) -> NDArray[np.float32]:
        """One magnitude; for domain "db" relative to its largest value.

        ``silence``: a band's value in it, to fill up a mel shorter than the shortest that the net takes.
        """
        output = np.empty((self.front_end.stft.bins, mel.shape[1]), np.float32)
        for piece in self._chunks.plan(mel.shape[1]):
            output[:, piece.kept] = self.net(piece.cut(mel, silence)[None])[0][:, piece.inside]
        if self.domain == "log":
            return np.asarray(np.exp(output))
        range_db = self.front_end.spectrum_range_db or 0.0
        return np.asarray(10 ** ((np.minimum(output, 1) - 1) * (range_db / 20)), np.float32)

    def _check_domain(self) -> str:
        domain = self.net.manifest.config.get("domain")
        relative = self.front_end.spectrum_range_db is not None
        if domain not in ("log", "db") or (domain == "db") != relative:
            raise BundleError(
                f"{self.net.bundle.path}: config",
                met=f"domain {domain!r}, front end with spectrum_range_db {self.front_end.spectrum_range_db}",
                expected="'db' where the front end normalises decibels, else 'log'",
            )
        return str(domain)


class PhaseNet:
    """The net `degli`: blocks that mend the phase of a spectrum, all with the same weights.

    The magnitude is scaled to the level that the net was trained at; only the phase is taken from the blocks.
    """

    def __init__(
        self, bundle: AnyBundle, front_end: MelConfig, chunk_frames: int, options: Mapping[str, Any]
    ) -> None:
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        config = _degli_config(opened)
        self.graph = str(config["graph"])
        self.level = float(config["magnitude_rms"])  # root mean square
        self.stft = Stft(_degli_framing(config, front_end.stft, opened))
        planes: Shape = (None, 2, front_end.stft.bins, None)
        spectra = ("spectrum",) if self.graph == "block" else ("x", "y", "z")
        takes = dict.fromkeys(spectra, planes) | {"magnitude": (None, front_end.stft.bins, None)}
        self.net = BundleNet(opened, PHASE_NET, takes=takes, gives=planes, **options)
        self._chunks = Chunks(self.net, 3, chunk_frames)

    def __call__(self, magnitude: Array, blocks: int, length: int) -> Array:
        """(bins, frames) → (length,) after so many blocks, from zero phase."""
        loudness = float(np.sqrt(np.mean(np.square(magnitude, dtype=np.float64))))
        wanted = np.asarray(magnitude * (self.level / loudness if loudness else 1.0), np.float32)
        spectrum = wanted.astype(np.complex64)
        for _ in range(blocks):
            spectrum = self.block(spectrum, wanted)
        return self.stft.inverse(_with_magnitude(spectrum, magnitude), length)

    def block(self, spectrum: Array, magnitude: Array) -> Array:
        """One block, on complex spectra (bins, frames)."""
        if self.graph == "block":
            return self._run({"spectrum": spectrum}, magnitude)
        y = _with_magnitude(spectrum, magnitude)
        z = self.stft.forward(self.stft.inverse(y))
        return z - self._run({"x": spectrum, "y": y, "z": z}, magnitude)

    def _run(self, spectra: Mapping[str, Array], magnitude: Array) -> Array:
        result = np.empty(magnitude.shape, np.complex64)
        for piece in self._chunks.plan(magnitude.shape[1]):
            arrays = {name: _planes(piece.cut(values, 0.0))[None] for name, values in spectra.items()}
            arrays["magnitude"] = piece.cut(magnitude, 0.0)[None]
            re, im = self.net.run(arrays)[0][..., piece.inside]
            result[:, piece.kept] = re + 1j * im
        return result


def _degli_config(bundle: Bundle) -> Mapping[str, Any]:
    """The manifest's `config`, which must say how the host takes part."""
    config = bundle.manifest.config
    if bundle.manifest.net != PHASE_NET:
        raise BundleError(
            f"{bundle.path}: net",
            met=bundle.manifest.net,
            expected=PHASE_NET,
            cause="is it the right bundle?",
        )
    if missing := sorted(_DEGLI_ENTRIES - config.keys()):
        raise BundleError(
            f"{bundle.path}: config",
            met=f"no {', '.join(missing)}",
            expected=", ".join(sorted(_DEGLI_ENTRIES)),
        )
    if config["graph"] not in ("block", "net"):
        raise BundleError(f"{bundle.path}: config", met=f"graph {config['graph']!r}", expected="block or net")
    return config


_DEGLI_ENTRIES = {"graph", "magnitude_rms", "n_fft", "hop_length", "win_length", "padding"}


def _degli_framing(config: Mapping[str, Any], front_end: StftConfig, bundle: Bundle) -> StftConfig:
    """The transform of the block, which must frame as the mel does; paddings may differ."""
    framing = StftConfig(
        config["n_fft"], config["hop_length"], config["win_length"], padding=config["padding"]
    )
    if replace(framing, padding=front_end.padding) != front_end:
        raise ConfigError(
            str(bundle.path),
            met=f"DeGLI with {_framing(framing)}",
            expected=f"{_framing(front_end)}, as the front end has it",
            cause="choose another front end, or a DeGLI that was trained on this framing",
        )
    return framing


def _framing(config: StftConfig) -> str:
    return f"n_fft {config.n_fft}, hop {config.hop_length}, window {config.win_length}"


def _with_magnitude(spectrum: Array, magnitude: Array) -> Array:
    """P_A: the phase of a spectrum with a magnitude; 0 where the spectrum has no phase."""
    size = np.abs(spectrum)
    factor = np.divide(magnitude, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(spectrum * factor)


def _planes(spectrum: Array) -> Array:
    """(bins, frames) complex → (2, bins, frames) real, imaginary."""
    return np.stack([spectrum.real, spectrum.imag])


class Chunks:
    """The runs of a net over the frames of a recording.

    Args:
        net: its manifest states the context, or none where a frame depends on the whole recording.
        axis: of the (first) input on which frames are counted.
        chunk_frames: most frames per run.
    """

    def __init__(self, net: BundleNet, axis: int, chunk_frames: int) -> None:
        self._net = net
        self._context = net.manifest.geometry.context_frames
        admitted = net.lengths(axis)
        self._only, self._low, self._high = admitted.only, admitted.low, admitted.high
        self._longest = min(chunk_frames, admitted.high or chunk_frames)
        if not self._only and self._context is not None and self._longest <= 2 * self._context:
            raise ConfigError(
                "chunk_frames", met=str(chunk_frames), expected=f"more than {2 * self._context}"
            )

    def plan(self, frames: int) -> Iterator[Piece]:
        """Every frame once, each with its context."""
        if self._context is not None:
            sizes = self._only or range(self._low, self._longest + 1)
            return map(Piece, plan_chunks(frames, self._context, sizes))
        return iter([Piece(Chunk(0, self._whole(frames), 0, frames))])

    def _whole(self, frames: int) -> int:
        """The length of one run over the whole recording."""
        if self._high is not None and frames > self._high:
            raise InputError(
                "mel",
                met=f"{frames} frames",
                expected=f"at most {self._high} for {self._net.artifact.path}",
                cause="its frames depend on the whole recording, so it cannot run in chunks",
            )
        return min((size for size in self._only if size >= frames), default=max(frames, self._low))


@dataclass(frozen=True)
class Piece:
    """One run of a net."""

    chunk: Chunk

    @property
    def kept(self) -> slice:
        """Frames of the recording that it gives."""
        return slice(self.chunk.first, self.chunk.last)

    @property
    def inside(self) -> slice:
        """The same, counted from its own first frame."""
        return slice(self.chunk.first - self.chunk.start, self.chunk.last - self.chunk.start)

    def cut(self, values: Array, silence: float) -> Array:
        """(…, frames) of the recording → what the run takes; what the recording lacks is silence."""
        part = values[..., self.chunk.start : self.chunk.stop]
        missing = self.chunk.stop - self.chunk.start - part.shape[-1]
        if not missing:
            return part
        return np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, missing)], constant_values=silence)


# ---- what front ends do to a signal -----------------------------------------------------------------------


def _uncompressed(config: MelConfig) -> MelConfig:
    """The front end cut off after the bank."""
    return replace(
        config, log="none", log_gain=1.0, reference=0.0, top_db=None, scale_from=None, clip=False
    )  # fmt: skip


def _magnitude_config(config: MelConfig) -> MelConfig:
    """The front end cut off after the magnitude."""
    return replace(_uncompressed(config), n_mels=None, power=1, epsilon=0.0, spectrum_range_db=None)


def _plain_config(config: MelConfig) -> MelConfig:
    """The same on the signal as it stands."""
    return replace(_magnitude_config(config), standardize=False, peak=None, pre_emphasis=0.0)


def _conditioning(audio: Array, config: MelConfig) -> Conditioning:
    mean, gain = mean_and_gain(audio, config)
    return Conditioning(mean, gain, float(np.std(audio, dtype=np.float64)) * gain)


def _without_pre_emphasis(magnitude: Array, config: MelConfig) -> Array:
    """The magnitude of the signal before ``x[n] − a · x[n−1]``: divided by the filter's response."""
    if not config.pre_emphasis:
        return magnitude
    turns = np.arange(len(magnitude)) / config.n_fft
    response = np.abs(1 - config.pre_emphasis * np.exp(-2j * np.pi * turns))
    return np.asarray(magnitude / np.maximum(response, 1e-3)[:, None], magnitude.dtype)


def _silence(config: MelConfig) -> float:
    """Value of a band in silence, as near as float32 comes to a logarithm's floor."""
    value = float(MelFrontEnd(config).compress(np.zeros((1, 1)))[0, 0])
    return value if config.log == "none" else value + 1e-5


def _loses_level(config: MelConfig) -> bool:
    return config.standardize or config.spectrum_range_db is not None


def _restore(samples: Array, config: MelConfig, conditioning: Conditioning | None) -> NDArray[np.float32]:
    """Mean and level of the recording, or the peak that stands for an unknown level."""
    values = samples.astype(np.float64)
    if config.spectrum_range_db is not None and (spread := float(values.std())):
        values *= (conditioning.deviation if conditioning else 1.0) / spread
    if conditioning is not None:
        values = values / conditioning.gain + conditioning.mean
    elif _loses_level(config) and (largest := float(np.abs(values).max())):
        values *= PEAK / largest
    return values.astype(np.float32)


# ---- figures ----------------------------------------------------------------------------------------------


def _figures(truth: Array, estimate: Array) -> dict[str, float]:
    return {
        "si_ssdr_db": si_ssdr(truth, estimate),
        "spectral_convergence": spectral_convergence(truth, estimate),
        "spectral_convergence_db": spectral_convergence_db(truth, estimate),
        "log_spectral_distance_db": log_spectral_distance(truth, estimate),
    }


# ---- refusals ---------------------------------------------------------------------------------------------


def _check_phase(phase: str | None, has_degli: bool) -> Algorithm | Literal["degli"]:
    known: tuple[Algorithm | Literal["degli"], ...] = (*get_args(Algorithm), "degli")
    found = next((name for name in known if name == (phase or ("degli" if has_degli else "fgla"))), None)
    if found is None:
        raise ConfigError("phase", met=repr(phase), expected=f"one of {', '.join(known)}")
    if has_degli and found != "degli":
        raise ConfigError(
            "phase",
            met=f"{phase} with a bundle of the net degli",
            expected="degli",
            cause="leave one of them out",
        )
    if not has_degli and found == "degli":
        raise ConfigError(
            "phase",
            met="degli without a bundle of that net",
            expected="its bundle (--bundle), or fgla, gla, agla, admm, which need none",
        )
    return found


def _count(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(name, met=repr(value), expected="a whole number, at least 0")
    return value


def _check_momentum(momentum: float) -> float:
    if not isinstance(momentum, (int, float)) or not 0 <= momentum < 2:
        raise ConfigError("momentum", met=repr(momentum), expected="a number from 0 to below 2")
    return momentum


def _check_front_end(of_net: MelConfig | None, preset: str | MelConfig | None) -> MelConfig:
    """The front end of the net, of the option, or the default one, if it can be inverted."""
    if isinstance(preset, str) and preset not in PRESETS:
        raise ConfigError("preset", met=repr(preset), expected=f"one of {', '.join(PRESETS)}")
    asked = PRESETS[preset] if isinstance(preset, str) else preset
    if of_net is not None and asked is not None and asked != of_net:
        raise ConfigError(
            "preset",
            met=f"{preset if isinstance(preset, str) else 'another one'} with a bundle of the net {NET}",
            expected="none",
            cause="the bundle says which mel its net was trained on",
        )
    config = of_net or asked or PRESETS[DEFAULT_FRONT_END]
    if not Stft(config.stft).covers_every_sample:
        raise ConfigError(
            "hop_length",
            met=f"{config.hop_length} samples with a window of {config.win_length}",
            expected="less than the window",
            cause="frames leave gaps (no overlap-add gives every sample), so this front end has no inverse",
        )
    return config


def _check_is_compressed(mel: Array, config: MelConfig) -> None:
    """Refuse linear values where a logarithm is expected: none below 0, and most of them near it."""
    if config.log == "none" or mel.dtype.kind not in "iuf" or not mel.size:
        return
    lowest, highest = float(mel.min()), float(mel.max())
    if lowest >= 0 and highest > 0 and float(np.median(mel)) < 0.2 * highest:
        raise InputError(
            "mel",
            met=f"values from {lowest:.4g} to {highest:.4g}, none negative and most near 0",
            expected="the logarithm of the front end",
            cause="these look like a linear mel: pass linear (--linear)",
        )


# ---- the reference pack -----------------------------------------------------------------------------------

SNAPSHOTS = (0, 1, 2, 3)  # iterations after which the pack holds the audio

_DESCRIPTION = (
    "Every stage from the mel to the audio. A port (Swift, Kotlin, C++) that starts from mel.npy and writes "
    "arrays of the same names can be checked number by number: `edge-export check THIS_FOLDER YOUR_FOLDER`. "
    "All arrays are numpy .npy files, little-endian, C order."
)


def _write_pack(
    folder: Path, name: str, audio: Audio | None, result: MelInversionResult, pipeline: MelInversion
) -> None:
    length = result.samples.size
    start = result.target.astype(np.complex64)
    arrays: dict[str, Array] = {
        "mel": result.mel,
        "linear_mel": pipeline.linear_mel(result.mel),
        "estimate": result.estimate,
        "magnitude": result.magnitude,
        "target": result.target,
        "phase_start": _planes(start),
    }
    counts = [count for count in SNAPSHOTS if count < pipeline.iterations]
    for count in counts:
        arrays[f"conditioned_wav_{count:03d}"] = pipeline.reconstruct(result.target, length, count)
    arrays[f"conditioned_wav_{pipeline.iterations:03d}"] = pipeline.reconstruct(result.target, length)
    arrays["wav"] = result.samples
    for stage, values in arrays.items():
        np.save(folder / f"{stage}.npy", values)
    if audio is not None:
        pack.write_audio(folder / pack.AUDIO, audio)
    pack.write_json(folder / "metadata.json", _metadata(name, arrays, audio, result, pipeline))
    _write_instructions(folder, arrays, pipeline, with_audio=audio is not None)


def _metadata(
    name: str,
    arrays: Mapping[str, Array],
    audio: Audio | None,
    result: MelInversionResult,
    pipeline: MelInversion,
) -> dict[str, Any]:
    conditioning = None if audio is None else _conditioning(audio.samples, pipeline.front_end)
    return {
        "source": name,
        "sample_rate": pipeline.sample_rate,
        "samples": result.samples.size,
        "samples_before_the_recording": pipeline.frames.offset,
        "frames_before_the_recording": pipeline.frames.before,
        "updates": pipeline.updates,
        "phase": pipeline.phase,
        "iterations": pipeline.iterations,
        "momentum": pipeline.momentum,
        "mean": conditioning.mean if conditioning else None,
        "gain": conditioning.gain if conditioning else None,
        "shapes": {stage: list(values.shape) for stage, values in arrays.items()},
        "value_ranges": {
            stage: [float(values.min()), float(values.max())] for stage, values in arrays.items()
        },
        "front_end": pipeline.front_end.to_json(),
    }


_FILES = {
    "mel": "as the front end gives it, every setting under front_end in metadata.json",
    "linear_mel": "the same before logarithm and scale: what the filter bank gave; 0 at their floor",
    "estimate": "magnitude (bins, frames): pseudo-inverse raised to 1e-10, then multiplicative updates",
    "magnitude": "the net's magnitude (bins, frames), or the estimate where there is no net",
    "target": "magnitude without pre-emphasis, frames mirrored at the ends until the phase step covers all",
    "phase_start": "the spectrum that the iterations start from: real part, imaginary part",
    "wav": "the result: frames before the recording cut off, mean and level of the recording restored",
}
_STEPS = [
    "Undo scale and logarithm of mel.npy, and set to 0 what stands at their floor: linear_mel.npy. Compare "
    "first: a wrong logarithm shows here.",
    "Multiply by the pseudo-inverse of the filter bank A, raise to 1e-10, then repeat `updates` times "
    "q = q · (Aᵀ m) / (Aᵀ A q); the root of it where the front end has power 2; the decibels undone where it "
    "has spectrum_range_db: estimate.npy.",
    "{magnitude}",
    "Divide by |1 - a exp(-2πik / n_fft)|, a the pre_emphasis, and mirror frames at both ends "
    "(frames_before_the_recording of them before the first): target.npy.",
    "{phase}",
    "Drop samples_before_the_recording samples; divide by `gain` and add `mean`: wav.npy. After "
    "spectrum_range_db the standard deviation is set first; of a mel whose level is lost the peak is 0.95.",
    "Stop at the first array that differs by more than 1e-3 (`edge-export check` exits with 1 then); the "
    "arrays before it are right.",
]
_PHASE = (
    "Give it zero phase (phase_start.npy) and run the iterations: conditioned_wav_NNN.npy is the audio after "
    "NNN of them. {how}"
)


def _write_instructions(
    folder: Path, arrays: Mapping[str, Array], pipeline: MelInversion, *, with_audio: bool
) -> None:
    magnitude = "Without a net for the magnitude, magnitude.npy is estimate.npy."
    if pipeline.net:
        steepness = (pipeline.front_end.spectrum_range_db or 0.0) / 20
        log = pipeline.net.domain == "log"
        name = "its exponential" if log else f"10 ** ((min(output, 1) - 1) · {steepness:g})"
        magnitude = f"Feed mel.npy to the net {NET} as (1, n_mels, frames); {name} is magnitude.npy."
    steps = [step.format(magnitude=magnitude, phase=_PHASE.format(how=_how(pipeline))) for step in _STEPS]
    files = {
        f"{stage}.npy": f"{values.shape} {values.dtype}, "
        + _FILES.get(stage, "audio after so many iterations, before mean and level are restored")
        for stage, values in arrays.items()
    } | {"metadata.json": "settings, shapes, value ranges and the front end"}
    if with_audio:
        files[pack.AUDIO] = f"the samples that mel.npy was made from, {pipeline.sample_rate} Hz, one channel"
        steps.insert(0, f"Compute the mel of {pack.AUDIO} (front_end in metadata.json): mel.npy.")
    pack.write_instructions(
        folder,
        "mel inversion",
        _DESCRIPTION,
        steps,
        files,
        {stage: {"shape": list(values.shape)} for stage, values in arrays.items()}
        | {"numerical_tolerance": TOLERANCE},
        {
            "executed_by": pipeline.executed_by,
            "nets": [
                pack.provenance(net.manifest, net.detail, net.precision)
                for net in (part.net for part in (pipeline.net, pipeline.degli) if part)
            ],
        },
    )


def _how(pipeline: MelInversion) -> str:
    """What one iteration does, in a sentence; A is the target, P_A gives a spectrum its magnitude."""
    if pipeline.degli:
        ending = "X = the net's next_spectrum of (X, A)"
        if pipeline.degli.graph == "net":
            ending = "Y = A · X / |X|, Z = STFT(ISTFT(Y)), X = Z - the net's residual of (X, Y, Z, A)"
        return (
            f"A is the target scaled to a root mean square of {pipeline.degli.level:g}; each iteration is "
            f"{ending}; the audio is ISTFT(target · X / |X|)."
        )
    rule = {
        "gla": "c = STFT(ISTFT(P_A(c)))",
        "fgla": "t = STFT(ISTFT(P_A(c))), c = t + {a} (t - last t)",
        "agla": "t = d + {g} (STFT(ISTFT(P_A(c))) - d), c = t + {a} (t - last t), d = t + {b} (t - last t)",
        "admm": "x = P_A(z - u), v = x + u, z = ({r} v + STFT(ISTFT(v))) / (1 + {r}), u = u + x - z",
    }[pipeline.phase]
    constants = {"a": pipeline.momentum, "b": AGLA_BETA, "g": AGLA_GAMMA, "r": ADMM_RHO}
    framing = pipeline.frames.phase
    return (
        f"Each iteration is {rule.format(**constants)}; the audio is ISTFT(P_A(c)), for admm of z - u. The "
        f"transform has {_framing(framing)}, padding {framing.padding}, and the least-squares inverse."
    )
