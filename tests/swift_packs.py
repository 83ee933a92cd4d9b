"""Numbers of the numpy runtime and reference packs, for the tests of the Swift package: `make test-swift`.

    numbers/    presets, magnitudes, Griffin-Lim, resampling, transforms, metrics, .npy and WAV files,
                bundles; and what swift_numbers lists
    packs/      what `edge-export reference` writes for four pipelines, on small real nets
    bundles/    of those nets
    faults/     the same packs as ports with known faults would write them: `edge-check` must refuse each

A test target and a wrapper as ``--swift`` writes them lie in runtime/swift/Generated.

Run as ``python -m tests.swift_packs DIR``; the folders are made anew.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests import small_bundles, small_mri, swift_numbers

from edge_export.ports.pack_tests import replace_pack_test
from edge_export.ports.swift_wrapper import write_wrapper
from edge_export.proof.reference import write_reference
from edge_runtime.compare import compare
from edge_runtime.dsp import windows
from edge_runtime.dsp.griffin_lim import griffin_lim
from edge_runtime.dsp.magnitude import estimate_magnitude, linear_mel
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd, filter_bank
from edge_runtime.dsp.resampling import resample
from edge_runtime.dsp.spectral import Padding, Stft, StftConfig, hann
from edge_runtime.media.audio import Subtype, read_audio, write_wav
from edge_runtime.store.bundle import Geometry, describe_artifact, open_bundle
from edge_runtime.store.bundle import write_reference as write_case

Values = NDArray[Any]

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "runtime/swift/Generated"
SENTENCE = ROOT / "export/edge_export/assets/sentence.wav"
RATES = ((44100, 16000), (22050, 16000), (48000, 11413), (16000, 22050), (8000, 48000))
DTYPES = (
    "?",
    "i1",
    "u1",
    "<i2",
    ">i2",
    "<u4",
    ">i8",
    "<f2",
    ">f2",
    "<f4",
    ">f4",
    "<f8",
    ">f8",
    "<c8",
    ">c16",
)
SUBTYPES: tuple[Subtype, ...] = ("pcm16", "pcm24", "pcm32", "float32")


def signal(rate: int, name: str) -> Values:
    """A golden signal, (n,) float32."""
    return np.asarray(np.load(ROOT / f"reference_data/signals/{rate}/{name}.npy"))


def save(folder: Path, name: str, values: Values) -> None:
    """An array into a folder that may have to be made."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", values)


# ---- numbers ----------------------------------------------------------------------------------------------


def write_inversions(folder: Path) -> None:
    """Of every preset the linear mel and the estimates of speech."""
    for name, config in PRESETS.items():
        whole = MelFrontEnd(config, "float64")(signal(config.sample_rate, "speech"))
        middle = whole.shape[1] // 2  # speech begins with silence
        mel = whole[:, middle : middle + 12]
        linear = linear_mel(mel, config)
        save(folder / name, "mel", mel)
        save(folder / name, "linear", linear)
        save(folder / name, "bank", filter_bank(config))
        for updates in (0, 50):
            save(folder / name, f"magnitude_{updates}", estimate_magnitude(linear, config, updates))


def write_griffin_lim(folder: Path) -> None:
    """Signals of every padding and algorithm from stored phases."""
    rng = np.random.default_rng(1)
    audio = rng.uniform(-0.5, 0.5, 600)
    save(folder, "audio", audio)
    paddings: tuple[Padding, ...] = ("none", "center-zero", "center-reflect", "reflect")
    for padding in paddings:
        config = StftConfig(60, 16, 48, padding)
        spectrum = Stft(config, "float64").forward(audio)
        start = np.exp(2j * np.pi * rng.random(spectrum.shape))
        place = folder / padding
        save(place, "spectrum", np.stack([spectrum.real, spectrum.imag]))
        save(place, "inverse", Stft(config, "float64").inverse(start * np.abs(spectrum)))
        save(place, "magnitude", np.abs(spectrum))
        save(place, "start", np.stack([start.real, start.imag]))
        for algorithm in ("gla", "fgla", "agla", "admm"):
            for count in (0, 1, 8):
                samples = griffin_lim(
                    np.abs(spectrum), n_fft=60, hop_length=16, win_length=48, n_iter=count, padding=padding,
                    algorithm=algorithm, init=start,
                )  # fmt: skip
                save(place, f"{algorithm}_{count}", samples)


def write_resampled(folder: Path) -> None:
    """The polyphase filter on noise, up and down."""
    noise = np.random.default_rng(2).uniform(-0.5, 0.5, 3000).astype(np.float32)
    save(folder, "noise", noise)
    for source, target in RATES:
        save(folder, f"{source}_{target}", resample(noise, source, target, method="polyphase"))


def write_arrays(folder: Path) -> None:
    """Every dtype in C and Fortran order; what numpy.save writes, and the values in float64."""
    for number, name in enumerate(DTYPES):
        dtype = np.dtype(name)
        values = np.random.default_rng(number).uniform(0, 100, (2, 3, 4)).astype(dtype)
        if dtype.kind == "f" and dtype.itemsize == 2:
            values[0, 0] = [6e-8, 65504, np.inf, -0.0]  # subnormal, largest, infinite
        if dtype.kind == "c":
            values = (values + 1j * values[::-1]).astype(dtype)
        label = f"{number:02d}"
        save(folder, label, values)
        save(folder, f"{label}_fortran", np.asfortranarray(values))
        wide = np.stack([values.real, values.imag], -1) if dtype.kind == "c" else values
        save(folder, f"{label}_float64", np.ascontiguousarray(wide, np.float64))
    save(folder, "scalar", np.array(3.5))
    save(folder, "empty", np.zeros((0, 3), np.float32))


def write_sounds(folder: Path) -> None:
    """WAV files of every subtype, and the samples that they hold."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(3).uniform(-1.1, 1.1, 501).astype(np.float32)
    save(folder, "samples", samples)
    for subtype in SUBTYPES:
        write_wav(folder / f"{subtype}.wav", samples, 16000, subtype)
        save(folder, subtype, read_audio(folder / f"{subtype}.wav").samples)


def metrics() -> Iterator[dict[str, Any]]:
    """Pairs of arrays with what `compare` says of them."""
    rng = np.random.default_rng(4)
    truth = rng.normal(size=40)
    for change in (0 * truth, 1e-4 * rng.normal(size=40), rng.normal(size=40), -truth):
        result = compare(truth, truth + change)
        yield {"reference": truth.tolist(), "candidate": (truth + change).tolist(), **result.to_json()}


def write_windows(folder: Path) -> None:
    """The video clock at several rates."""
    counts = {
        str(fps): {
            str(frames): windows.window_starts(frames, fps).tolist() for frames in (16, 17, 80, 384, 511)
        }
        for fps in (25.0, 29.97, 30.0, 12.5)
    }
    (folder / "windows.json").write_text(json.dumps(counts))


def write_bundle(folder: Path) -> None:
    """A bundle with a reference case, every file of which the tests damage in turn."""
    draft = folder.with_name("draft")
    draft.mkdir()
    rng = np.random.default_rng(5)
    arrays = {
        "mel": rng.uniform(-5, 0, (1, 5, 6)).astype(np.float32),
        "wav": rng.uniform(-1, 1, (1, 1, 24)).astype(np.float32),
    }
    hashes = write_case(draft, "speech", arrays)
    small_bundles.write_vocoder(folder, reference={"speech": hashes})
    shutil.move(draft / "reference", folder / "reference")
    draft.rmdir()
    # weights beside the graph, as above 2 GiB
    manifest = open_bundle(folder).manifest
    (folder / "model.onnx.data").write_bytes(rng.bytes(50))
    (artifact,) = manifest.artifacts
    wide = describe_artifact(
        folder, "model.onnx", target="onnx", precision="fp32", version=artifact.version, axes=artifact.axes,
        data=["model.onnx.data"],
    )  # fmt: skip
    replace(manifest, artifacts=(wide,)).save(folder)


def measure_numpy() -> dict[str, float]:
    """Seconds of one thread for the talking-head mel of 60 s: the least of five."""
    noise = np.random.default_rng(6).uniform(-0.5, 0.5, 960000).astype(np.float32)
    found: dict[str, float] = {}
    for dtype in ("float32", "float64"):
        front_end = MelFrontEnd(PRESETS["talking-head"], dtype)
        times = []
        for _ in range(5):
            start = time.process_time()
            front_end(noise)
            times.append(time.process_time() - start)
        found[dtype] = min(times)
    return found


def write_numbers(folder: Path) -> None:
    """All of the above."""
    folder.mkdir(parents=True)
    presets = {name: config.to_json() for name, config in PRESETS.items()}
    (folder / "presets.json").write_text(json.dumps(presets))
    (folder / "metrics.json").write_text(json.dumps([*metrics()]))
    (folder / "numpy_seconds.json").write_text(json.dumps(measure_numpy()))
    write_inversions(folder / "inversion")
    write_griffin_lim(folder / "griffin_lim")
    write_resampled(folder / "resampled")
    write_arrays(folder / "arrays")
    write_sounds(folder / "sounds")
    write_windows(folder)
    swift_numbers.write(folder)
    write_bundle(folder / "bundle")
    sides = Geometry(small_bundles.HOP, 8, 4, context_before=4, context_after=3)
    small_bundles.write_vocoder(folder / "buckets", only=(9, 12), geometry=sides)


# ---- packs ------------------------------------------------------------------------------------------------


def write_packs(folder: Path, scratch: Path) -> None:
    """Packs of four pipelines; nets from tests/small_*.py, executed by onnxruntime."""
    speech = read_audio(SENTENCE, 16000)
    short, tone = scratch / "speech.wav", scratch / "vocoder.wav"
    write_wav(short, speech.samples[4000:36000], 16000)
    write_wav(tone, speech.samples[8000:12000], 8000)
    video = scratch / "video.npy"
    np.save(video, np.random.default_rng(7).integers(0, 256, (12, 20, 20), np.uint8))
    bundles = folder.with_name("bundles")
    bundles.mkdir()
    encoder = small_bundles.write_encoder(bundles / "encoder")
    vocoder = small_bundles.write_vocoder(bundles / "vocoder")
    acoustic = small_mri.write_acoustic(bundles / "acoustic")
    voice = small_bundles.write_vocoder(bundles / "voice", front_end=small_mri.FRONT_END)
    write_reference("talking-head", short, [encoder], folder / "talking-head")
    write_reference("vocoder", tone, [vocoder], folder / "vocoder")
    write_reference("mri-speech", video, [acoustic, voice], folder / "mri-speech", mask="tongue")
    for preset, phase in (
        ("talking-head", "fgla"), ("rtmri", "agla"), ("mel-inversion-db", "gla"), ("mel-inversion", "admm"),
    ):  # fmt: skip
        write_reference(
            "mel-inversion",
            short,
            [],
            folder / f"mel-inversion-{preset}",
            preset=preset,
            phase=phase,
            iterations=8,
        )


def hann_symmetric(length: int) -> Values:
    """The window of filter design, whose last sample is zero too."""
    return np.hanning(length)


def faulty_mel(config: MelConfig, audio: Values, window: Callable[[int], Values] = hann) -> Values:
    """The mel of a port with another configuration or window, by numpy's own transform."""
    y = audio.astype(np.float64)
    y[1:] = y[1:] - config.pre_emphasis * y[:-1]
    if config.padding != "none":
        y = np.pad(y, config.n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(y, config.n_fft)[:: config.hop_length]
    magnitude = np.abs(np.fft.rfft(frames * window(config.n_fft))).T
    return MelFrontEnd(config, "float64").compress(filter_bank(config) @ magnitude)


def write_faults(packs: Path, folder: Path) -> None:
    """The talking-head pack as ports with the known faults write it."""
    good = packs / "talking-head"
    audio = read_audio(good / "reference_audio.wav").samples
    config = PRESETS["talking-head"]
    mel, rows = np.load(good / "mel_spectrogram.npy"), np.load(good / "mel_windows.npy")
    np.testing.assert_allclose(faulty_mel(config, audio), mel, atol=1e-9)  # without a fault it is the mel
    faults: dict[str, tuple[str, Values]] = {
        "htk-scale": ("mel_spectrogram", faulty_mel(replace(config, mel_scale="htk"), audio)),
        "symmetric-window": ("mel_spectrogram", faulty_mel(config, audio, hann_symmetric)),
        "no-centring": ("mel_spectrogram", faulty_mel(replace(config, padding="none"), audio)),
        "512-point-fft": ("mel_spectrogram", faulty_mel(replace(config, n_fft=512, win_length=512), audio)),
        "off-by-one-window": (
            "mel_windows", windows.encoder_windows(np.pad(mel[:, :-1], ((0, 0), (1, 0)), mode="edge")),
        ),
        "swapped-axes": ("mel_windows", np.ascontiguousarray(rows.transpose(0, 2, 1))),
        "swapped-axes-reshaped": (
            "frames/frame_00005_reshaped",
            np.load(good / "frames/frame_00005_window.npy").T.reshape(32, 16, 16),
        ),
        "ends-not-repeated": ("audio_features_padded", np.load(good / "audio_features_raw.npy")),
    }  # fmt: skip
    for name, (file, values) in faults.items():
        shutil.copytree(good, folder / name)
        np.save(folder / name / f"{file}.npy", values)
    for name, file in (
        ("vocoder", "mel"),
        ("mri-speech", "frames"),
        ("mel-inversion-rtmri", "conditioned_wav_008"),
    ):
        shutil.copytree(packs / name, folder / name)
        path = folder / name / f"{file}.npy"
        values = np.load(path)
        values.flat[values.size // 2] += 0.01
        np.save(path, values)


# ---- what edge-export writes for apps ---------------------------------------------------------------------

_WRAPPER_TEST = """import EdgeRuntime
import Foundation
import Testing

@Test func theWrapperRunsTheNetOfItsBundle() async throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    let bundle = try EdgeBundle(contentsOf: root.appendingPathComponent(".build/packs/numbers/bundle"))
    let arrays = try bundle.reference("speech")
    let (mel, wav) = (try #require(arrays["mel"]).float32, try #require(arrays["wav"]).float32)
    let recorded = try RecordedNet(input: "mel", asked: mel, output: "wav", answered: wav)
    let net = try HifiganNet(recorded, bundle: bundle)
    #expect(HifiganNet.hopLength == 4)
    #expect(try await net(mel: mel).wav == wav)
    await #expect(throws: EdgeError.self) { _ = try await net(mel: mel.transposed()) }
}
"""


def write_generated(folder: Path, packs: Path, bundle: Path) -> None:
    """A test target of a pack and a wrapper of a bundle, as `--swift` writes them, and its test."""
    shutil.rmtree(folder, ignore_errors=True)
    with replace_pack_test(folder, "swift", False) as fill:
        fill(packs / "talking-head")
    write_wrapper(open_bundle(bundle), folder / "HifiganNet.swift")
    (folder / "WrapperTests.swift").write_text(_WRAPPER_TEST)


def main(target: Path) -> None:
    """Everything into a folder, which is deleted first."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "scratch").mkdir(parents=True)
    write_numbers(target / "numbers")
    write_packs(target / "packs", target / "scratch")
    write_faults(target / "packs", target / "faults")
    write_generated(GENERATED, target / "packs", target / "numbers/bundle")
    shutil.rmtree(target / "scratch")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
