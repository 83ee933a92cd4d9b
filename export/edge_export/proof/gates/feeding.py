"""Real speech as the inputs of a net, whatever the net takes of it.

    mel           the mel of a recording                          vocoders, `mel-inversion`
    windows       windows of one                                  features of a face
    spectrogram   a second of one, as `speech-encoder` takes it
    spectrum      its magnitude with zero phase                   `degli`, as its first block gets it
    video         vocal-tract pictures of the phantom             `mri-acoustic`
    ecog          the phantom's electrodes around a word          `ecog-decoder`

The last two hear no recording: who sees a speaker is fed by the synthetic one of `edge_training.phantom`, the
same utterance each time. Lengths are cut to what all artifacts take.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_export.assets import SENTENCE
from edge_export.catalog.gates import Feed, Gate
from edge_export.proof.gates.measures import SHORTEST
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.dsp.windows import encoder_windows
from edge_runtime.errors import BackendError, ConfigError, InputError
from edge_runtime.media.audio import Audio, read_audio
from edge_runtime.store.bundle import Artifact, Lengths, Tensor

if TYPE_CHECKING:
    from edge_training.phantom import Utterance

Array = NDArray[Any]
Arrays = dict[str, Array]

SECONDS = 2.0  # of a sentence that are judged
FROM = 0.3  # s; where the recording begins to be used, if it is long enough
WINDOWS = 16  # of features
FILMED = 1.2  # s of video: convolutions of pictures take long
SPEAKER = (7, 1)  # seed and number of the phantom that the demonstration weights of ecog-decoder know
SEEN = frozenset({"video", "ecog"})  # feeds that no recording gives


@dataclass(frozen=True)
class Wanted:
    """What speech is made into.

    Args:
        tensors: the net's inputs.
        front_end: makes its mel, where it has one.
        config: the net's, as its manifest states it.
        lengths: those that all artifacts take, by axis.
        gate: of the net.
        audio: a recording; the sentence that ships where None.
    """

    tensors: Sequence[Tensor]
    front_end: MelConfig | None
    config: Mapping[str, Any]
    lengths: Mapping[str, Lengths]
    gate: Gate
    audio: str | os.PathLike[str] | None = None

    @property
    def place(self) -> str | os.PathLike[str]:
        """The recording."""
        return self.audio or SENTENCE

    def heard(self, rate: int) -> Audio:
        """The recording at a sample rate."""
        return read_audio(self.place, rate)


def speech_inputs(wanted: Wanted) -> Arrays:
    """Speech as the inputs of a net.

    Raises:
        ConfigError: a recording for a net that takes no sound, or a net that its gate's feed does not fit.
        InputError: a recording that is too short.
        BackendError: a library is missing.
    """
    check_heard(wanted.tensors, wanted.gate, wanted.audio)
    return FEEDS[wanted.gate.feed](wanted)


def check_heard(tensors: Sequence[Tensor], gate: Gate, audio: str | os.PathLike[str] | None) -> None:
    """ConfigError for a recording, where the net's inputs see a speaker and hear none."""
    if audio is not None and gate.feed in SEEN:
        names = ", ".join(tensor.name for tensor in tensors)
        raise ConfigError(
            "--audio",
            got=f"a recording for a net that takes {names}",
            expected="--gate alone",
            cause=f"it is judged on the synthetic speaker's stored case {gate.case}",
        )


def _only(wanted: Wanted) -> tuple[Tensor, MelConfig]:
    """The only input and its front end."""
    if len(wanted.tensors) != 1 or wanted.front_end is None:
        names = ", ".join(tensor.name for tensor in wanted.tensors)
        raise ConfigError(
            "--audio", got=f"a net that takes {names}", expected="one that takes the mel of sound"
        )
    return wanted.tensors[0], wanted.front_end


def _spoken(samples: Array, rate: int) -> Array:
    """The samples (n,) without the silence that a recording begins with, if it is long enough."""
    skipped = int(FROM * rate)
    return samples[skipped:] if len(samples) > 2 * skipped else samples


def _mel(wanted: Wanted) -> Arrays:
    tensor, front_end = _only(wanted)
    sound = wanted.heard(front_end.sample_rate)
    mel = np.asarray(MelFrontEnd(front_end)(_spoken(sound.samples, front_end.sample_rate)), np.float32)
    frames = _frames(wanted, mel.shape[1], front_end.sample_rate, front_end.hop_length, sound.seconds)
    return {tensor.name: np.ascontiguousarray(mel[None, :, :frames])}


def _frames(wanted: Wanted, most: int, rate: int, hop: int, seconds: float) -> int:
    """How many frames of a recording are judged."""
    chosen = longest(wanted.lengths.get("frames", Lengths()), min(int(SECONDS * rate) // hop, most))
    if chosen is None or chosen * hop < SHORTEST:
        raise InputError(
            str(wanted.place),
            got=f"{seconds:.2f} s",
            expected=f"{SHORTEST / rate:.2f} s of speech, in a length that the net takes",
        )
    return chosen


def _windows(wanted: Wanted) -> Arrays:
    tensor, front_end = _only(wanted)
    sound = wanted.heard(front_end.sample_rate)
    windows = encoder_windows(np.asarray(MelFrontEnd(front_end)(sound.samples), np.float32))
    count = min(WINDOWS, len(windows), wanted.lengths.get("batch", Lengths()).high or WINDOWS)
    chosen = windows[np.linspace(0, len(windows) - 1, count).astype(int)]  # (n, 16, 80)
    return {tensor.name: np.ascontiguousarray(chosen.transpose(0, 2, 1)[:, None], np.float32)}


def _spectrogram(wanted: Wanted) -> Arrays:
    """(1, 1, frames, bins), and the sex of the speaker: 1, as of the sentence that ships."""
    assert wanted.front_end is not None  # speech-encoder states it
    picture = next(tensor for tensor in wanted.tensors if tensor.name == "spectrogram")
    frames, rate = int(picture.shape[2]), wanted.front_end.sample_rate
    samples = _spoken(wanted.heard(rate).samples, rate)
    rows = MelFrontEnd(wanted.front_end)(samples).T
    if len(rows) < frames:
        needed = frames * wanted.front_end.hop_length / rate
        raise InputError(str(wanted.place), got=f"{len(samples) / rate:.2f} s", expected=f"{needed:.2f} s")
    values = np.ascontiguousarray(rows[None, None, :frames], np.float32)
    return {"spectrogram": values, "gender": np.ones((1, 1), np.float32)}


def _spectrum(wanted: Wanted) -> Arrays:
    """Magnitude (1, bins, frames) at the level of training, and spectra that a first block starts from."""
    config = wanted.config
    framing = {name: config[name] for name in ("n_fft", "hop_length", "win_length", "padding")}
    stft, rate = Stft(StftConfig(**framing), "float64"), int(config["sample_rate"])
    sound = wanted.heard(rate)
    magnitude = np.abs(stft.forward(_spoken(sound.samples, rate).astype(np.float64)))
    frames = _frames(wanted, magnitude.shape[1], rate, stft.config.hop_length, sound.seconds)
    magnitude = magnitude[:, :frames]
    magnitude *= config["magnitude_rms"] / np.sqrt(np.mean(magnitude**2))
    again = stft.forward(stft.inverse(magnitude.astype(complex)))
    spectra = {"spectrum": magnitude, "x": magnitude, "y": magnitude, "z": again}
    names = {tensor.name for tensor in wanted.tensors}
    planes = {name: np.stack([values.real, values.imag]) for name, values in spectra.items() if name in names}
    arrays = planes | {"magnitude": magnitude}
    return {name: np.ascontiguousarray(values[None], np.float32) for name, values in arrays.items()}


def _video(wanted: Wanted) -> Arrays:
    from edge_runtime.media.video import prepare_frames

    tensor, front_end = _only(wanted)
    rate = front_end.sample_rate / front_end.hop_length
    most = max(math.ceil(FILMED * rate), -(-SHORTEST // front_end.hop_length))
    frames = longest(wanted.lengths.get("frames", Lengths()), most)
    if frames is None or frames * front_end.hop_length < SHORTEST:
        raise ConfigError("--gate", got=f"artifacts that take fewer than {most} pictures", expected=f"{most}")
    film = _phantom(before=0.1, after=0.1).midsagittal(rate, frames)
    pictures = prepare_frames(film, int(tensor.shape[-1]), wanted.config["frame_scaling"])
    return {tensor.name: np.ascontiguousarray(pictures[None, :, None], np.float32)}


def _ecog(wanted: Wanted) -> Arrays:
    """(1, 144, electrodes) around a word, as a trial of the pipeline."""
    from edge_runtime.pipelines.ecog_speech.grids import HB_SIDE, LD_ELECTRODES, arrange
    from edge_runtime.pipelines.ecog_speech.pipeline import FRAME_RATE
    from edge_runtime.pipelines.ecog_speech.recordings import AHEAD, FRAMES, PAST

    if wanted.config.get("wiring") == "stateful":
        raise ConfigError(
            "--gate",
            got="a decoder of wiring 'stateful', which takes frames of a stream",
            expected="its weights as --set 'wiring=\"streaming\"', which takes windows",
        )
    said = _phantom(before=0.8, after=0.6)
    electrodes = int(wanted.config["electrodes"])
    activity = said.ecog(density="LD" if electrodes <= LD_ELECTRODES else "HB")
    scored = np.minimum((activity - activity.mean()) / activity.std(), 5.0).astype(np.float32)
    first = round(said.words[0].start * FRAME_RATE) - AHEAD - PAST
    window = scored[first : first + PAST + FRAMES]
    if electrodes == HB_SIDE**2:
        window = arrange(window)
    columns = (
        np.arange(electrodes) % window.shape[1]
    )  # grids that no phantom has are filled with what there is
    return {"ecog": np.ascontiguousarray(window[None, :, columns])}


def _phantom(before: float, after: float) -> Utterance:
    try:
        from edge_training.phantom import Speaker, speak
    except ImportError as error:
        raise BackendError(
            "the synthetic speaker",
            got=f"no module named {error.name}",
            expected="scipy",
            cause="pip install 'edge-export[audio]'",
        ) from error
    return speak(Speaker.sample(*SPEAKER), SPEAKER[0], before=before, after=after)


FEEDS: Mapping[Feed, Callable[[Wanted], Arrays]] = {
    "mel": _mel,
    "windows": _windows,
    "spectrogram": _spectrogram,
    "spectrum": _spectrum,
    "video": _video,
    "ecog": _ecog,
}


def longest(lengths: Lengths, most: int) -> int | None:
    """The longest admitted length of at most `most`.

    >>> longest(Lengths(32, 128, (32, 64, 128)), 100)
    64
    """
    if lengths.only:
        return max((length for length in lengths.only if length <= most), default=None)
    allowed = most if lengths.high is None else min(most, lengths.high)
    return allowed if allowed >= lengths.low else None


def admitted(artifacts: Sequence[Artifact]) -> dict[str, Lengths]:
    """The narrowest lengths of each axis among artifacts: those of Core ML packages, where there are any.

    Those of Core AI, whose executor is among the slow ones, do not count.
    """
    found: dict[str, Lengths] = {}
    for artifact in (each for each in artifacts if each.target != "coreai"):
        for axis, lengths in artifact.axes.items():
            if axis not in found or lengths.only or (lengths.high is not None and found[axis].high is None):
                found[axis] = lengths
    return found
