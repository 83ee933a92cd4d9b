"""Sound that is probably not what was meant is said, with the cure; ordinary sound is not."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge_runtime.errors import EdgeWarning, InputError, strictly
from edge_runtime.media.audio import read_audio

T = np.arange(8000) / 16000
SPEECH = 0.3 * np.sin(2 * np.pi * 180 * T) * (1 + np.sin(20 * T))
NOISE = np.random.default_rng(0).normal(0, 0.01, 8000)

ODD: dict[str, tuple[NDArray[np.float64], str]] = {
    "the size of int16": (SPEECH * 32768, "full scale.*divide by their full scale, 32768"),
    "the size of int24": (np.clip(SPEECH, 0, 1) * 2**19, "full scale"),
    "opposite channels": (np.stack([SPEECH, -SPEECH], 1), "2 channels that cancel.*c0=c0"),
    "nearly opposite": (np.stack([SPEECH, -0.99 * SPEECH], 1), "cancel"),
    "offset": (SPEECH * 0.1 + 0.9, "samples around 0.9"),
    "negative offset": (NOISE - 0.5, "samples around -0.5"),
    "constant": (np.full(8000, 0.25), "0.25 in every sample"),
    "silence": (np.zeros(8000), "silence alone"),
    "one channel silent": (np.stack([0 * SPEECH, SPEECH], 1), "channel 1 silent.*c0=c1"),
    "divided twice": (SPEECH / 32768, "samples up to 1.8.*e-05.*full scale twice.*volume="),
    "cut off": (np.clip(SPEECH * 5, -1, 1), "% of the samples at full scale"),
    "two silent channels": (np.zeros((8000, 2)), "silence alone"),
}
ORDINARY = {
    "speech": SPEECH,
    "quiet": NOISE * 1e-3,
    "clipping": np.clip(SPEECH * 1.7, -1, 1),
    "float beyond full scale": SPEECH * 6,
    "stereo": np.stack([SPEECH, 0.5 * SPEECH + NOISE], 1),
    "one channel far": np.stack([SPEECH, 1e-3 * SPEECH], 1),
    "wide stereo": np.stack([SPEECH + NOISE, -0.7 * SPEECH], 1),
    "small offset": SPEECH + 0.05,
    "a few samples": np.full(100, 0.5),
}


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_said_and_refused_on_request(tmp_path: Path, case: str, suffix: str) -> None:
    sound, words = ODD[case]
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, sound, 16000, subtype="FLOAT")
    with pytest.warns(EdgeWarning, match=rf"x\.{suffix}: audio: got .*{words}") as caught:
        audio = read_audio(path)
    assert len(caught) == 1
    np.testing.assert_allclose(
        audio.samples, sound if sound.ndim == 1 else sound.mean(1), rtol=1e-6, atol=1e-7
    )
    with pytest.raises(InputError, match=words), strictly():
        read_audio(path)


@pytest.mark.parametrize("case", ORDINARY)
def test_ordinary_sound_is_not_doubted(tmp_path: Path, case: str) -> None:
    soundfile.write(tmp_path / "x.wav", ORDINARY[case], 16000, subtype="FLOAT")
    with warnings.catch_warnings(), strictly():
        warnings.simplefilter("error")
        read_audio(tmp_path / "x.wav")
