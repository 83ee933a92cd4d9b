"""What makes sound of a net's outputs, where they are none: the rest of its pipeline.

    griffin-lim   magnitude of `mel-inversion`                     → fast Griffin-Lim from zero phase
    istft         spectrum after a block of `degli`                → inverse STFT
    vocoder       mel of `mri-acoustic`                            → a bundle of a vocoder
    synthesizer   parameters of `ecog-decoder`, `speech-encoder`   → a bundle of `formant-synthesizer`

The same stage makes the sound of the truth and that of every artifact: in float32, nets on onnxruntime. So
what is heard is the artifact's difference alone, as far as the pipeline lets it through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_export.catalog.gates import Gate
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.store.bundle import Bundle, Manifest, Tensor, open_bundle

Array = NDArray[Any]
Arrays = Mapping[str, Array]
AnyBundle = str | os.PathLike[str] | Bundle

SAMPLE_RATE = 16000  # Hz of nets that state none: those of ECoG
LEVEL = 0.1  # root mean square of the sound of a spectrum whose level nobody knows
# stage → the nets that are one
COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "vocoder": ("hifigan", "istft-vocoder"),
    "synthesizer": ("formant-synthesizer",),
}


@dataclass(frozen=True)
class Described:
    """A net as its manifest describes it, or will.

    Args:
        what: its bundle or its weights, as errors name it.
        net: its name.
        config: as it stands in the manifest.
        front_end: of its mel, where it has one.
        outputs: of its graph.
    """

    what: str
    net: str
    config: Mapping[str, Any]
    front_end: MelConfig | None
    outputs: Sequence[Tensor]

    @classmethod
    def of(cls, bundle: Bundle) -> Described:
        """The net of a bundle."""
        manifest = bundle.manifest
        return cls(str(bundle.path), manifest.net, manifest.config, manifest.front_end, manifest.outputs)


@dataclass(frozen=True)
class Sounding:
    """A stage that makes sound.

    Args:
        rate: Hz of the sound.
        sound: (the net's inputs, its outputs) → what is judged: samples (n,), or the output itself.
        told: what it is, in words; "" where the output is judged as it is.
    """

    rate: int
    sound: Callable[[Arrays, Arrays], Array]
    told: str = ""


def sounding(bundle: Bundle, gate: Gate, beside: AnyBundle | None = None) -> Sounding:
    """The stage that a gate names, for the net of a bundle.

    Args:
        bundle: of the net that is judged.
        gate: of the net.
        beside: the bundle of the stage, where it is a net.

    Raises:
        ConfigError: no bundle for a stage that is one, or one for a stage that is none.
        BundleError: a bundle of another net, or of another mel.
    """
    described = Described.of(bundle)
    companion = check_companion(described.net, gate, beside, _fitting(described, gate))
    if companion is None:
        return _OWN[gate.through](bundle, gate)
    return _COMPANIONS[gate.through](described, companion)


def check_fit(described: Described, gate: Gate, beside: AnyBundle | None) -> None:
    """What `sounding` refuses of a net and the bundle beside it, before there is a bundle of the net.

    Raises:
        ConfigError, BundleError: as `sounding`.
    """
    companion = check_companion(described.net, gate, beside, _fitting(described, gate))
    if companion is not None:
        _COMPANIONS[gate.through](described, companion)


def check_companion(net: str, gate: Gate, beside: AnyBundle | None, which: str = "") -> Bundle | None:
    """The bundle that makes sound of a net's output; None where the gate needs none.

    Raises:
        ConfigError, BundleError: as `sounding`; `which` says in words which bundle fits.
    """
    nets = COMPANIONS.get(gate.through)
    if nets is None:
        if beside is not None:
            raise ConfigError("--with", got=str(beside), expected=f"no such option: {net} needs no other net")
        return None
    needed = f"a bundle of {' or '.join(nets)}"
    if beside is None:
        expected = f"--with DIR, {needed}: the {gate.through} that makes sound of {net}"
        raise ConfigError("--with", got="nothing", expected=expected, cause=which)
    companion = beside if isinstance(beside, Bundle) else open_bundle(beside)
    if companion.manifest.net not in nets:
        raise BundleError(f"--with {companion.path}", got=companion.manifest.net, expected=needed)
    return companion


def sample_rate_of(manifest: Manifest) -> int:
    """Hz of the sound that a net makes."""
    front_end = manifest.front_end
    if front_end is not None:
        return front_end.sample_rate
    config = manifest.config
    return int(config.get("sample_rate") or config.get("sampling_rate") or SAMPLE_RATE)


def _fitting(described: Described, gate: Gate) -> str:
    """Which companion fits, in words."""
    front_end = described.front_end
    if gate.through == "vocoder" and front_end is not None:
        return f"one for mels at {front_end.sample_rate} Hz, {front_end.hop_length} samples a frame"
    bins = described.config.get("bins")
    return f"one of {bins} bins" if bins else "the one that it was trained with"


def _itself(bundle: Bundle, gate: Gate) -> Sounding:
    return Sounding(sample_rate_of(bundle.manifest), lambda _inputs, outputs: outputs[gate.output])


def _griffin_lim(bundle: Bundle, _gate: Gate) -> Sounding:
    from edge_runtime.pipelines.mel_inversion.nets import domain_of, magnitude_of
    from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion

    domain, front_end = domain_of(bundle), bundle.manifest.front_end
    assert front_end is not None  # domain_of refuses
    pipeline = MelInversion(preset=front_end)

    def sound(_inputs: Arrays, outputs: Arrays) -> Array:
        (answer,) = outputs.values()  # named by its unit
        return pipeline.sound_of(magnitude_of(np.asarray(answer[0], np.float32), domain, front_end))

    told = f"{pipeline.iterations} iterations of fast Griffin-Lim"
    return Sounding(front_end.sample_rate, sound, told)


def _istft(bundle: Bundle, _gate: Gate) -> Sounding:
    config = bundle.manifest.config
    framing = {name: config[name] for name in ("n_fft", "hop_length", "win_length", "padding")}
    stft = Stft(StftConfig(**framing), "float64")
    # Parseval: the root mean square of a spectrum is the signal's, times that of Hann's window
    factor = LEVEL * np.sqrt(0.375 * stft.config.win_length) / config["magnitude_rms"]

    def sound(inputs: Arrays, outputs: Arrays) -> Array:
        (answer,) = outputs.values()
        planes = np.asarray(answer[0], np.float64)
        if config["graph"] == "net":  # which gives what is subtracted
            planes = np.asarray(inputs["z"][0], np.float64) - planes
        return np.asarray(factor * stft.inverse(planes[0] + 1j * planes[1]))

    return Sounding(int(config["sample_rate"]), sound, "the inverse STFT of one block")


def _vocoder(described: Described, companion: Bundle) -> Sounding:
    from edge_runtime.pipelines.mri_speech.pipeline import check_pair, rescaled
    from edge_runtime.pipelines.vocoder.pipeline import Vocoder

    front_end, bands = described.front_end, described.outputs[0].shape[-1]
    if front_end is None or not isinstance(bands, int):
        raise BundleError(described.what, got="no mel that it was trained for", expected="its front_end")
    mean, std = _statistics(described, bands)
    vocoder = Vocoder(companion)
    check_pair(front_end, bands, vocoder)

    def sound(_inputs: Arrays, outputs: Arrays) -> Array:
        _, mel = rescaled(np.asarray(outputs["mel"][0], np.float32), mean, std)
        return np.asarray(vocoder.synthesize(mel.T))

    return Sounding(vocoder.sample_rate, sound, _named(companion))


def _statistics(described: Described, bands: int) -> tuple[Array, Array]:
    """Mean and deviation of each band (bands,), which make a mel of what the net says."""
    from edge_runtime.store.scaler import statistics

    if described.config.get("mel_mean") is None or described.config.get("mel_std") is None:
        raise BundleError(
            described.what,
            got="no mel_mean and mel_std",
            expected="the mean and deviation of each band, without which a mel is no sound",
            cause="export weights beside which their training's scaler.json lies, or --config FILE with both",
        )
    return statistics(described.config, "mel_mean", "mel_std", bands, f"{described.what}: config")


def _synthesizer(described: Described, companion: Bundle) -> Sounding:
    from edge_runtime.pipelines.ecog_speech.nets import PARAMETERS, ManyOutputs, audible
    from edge_runtime.pipelines.ecog_speech.pipeline import draw_noise
    from edge_runtime.pipelines.ecog_speech.recordings import FRAMES

    net = ManyOutputs(
        companion, "formant-synthesizer", ("wave",),
        backend="onnxruntime", device="cpu", threads=None, precision="fp32",
    )  # fmt: skip
    bins, wanted = int(net.manifest.config["bins"]), described.config.get("bins")
    if wanted is not None and wanted != bins:
        raise BundleError(
            str(companion.path),
            got=f"a synthesizer of {bins} bins",
            expected=f"{wanted} bins, as {described.net} was trained with",
        )
    given = draw_noise(np.random.default_rng(0), bins) | {"background": np.zeros((1, bins), np.float32)}

    def sound(_inputs: Arrays, outputs: Arrays) -> Array:
        said = {name: outputs[name][..., -FRAMES:] for name in PARAMETERS}
        return net.run(audible(said) | given)["wave"].reshape(-1)

    return Sounding(SAMPLE_RATE, sound, _named(companion))


def _named(companion: Bundle) -> str:
    return f"{companion.manifest.net} {companion.path.name}"


_OWN: Mapping[str, Callable[[Bundle, Gate], Sounding]] = {
    "": _itself,
    "griffin-lim": _griffin_lim,
    "istft": _istft,
}
_COMPANIONS: Mapping[str, Callable[[Described, Bundle], Sounding]] = {
    "vocoder": _vocoder,
    "synthesizer": _synthesizer,
}
