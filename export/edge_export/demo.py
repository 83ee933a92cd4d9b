"""Everything once on one spoken sentence: export, proof, three pipelines, the reference pack, a table.

The nets have the demonstration weights that ship (`edge_export.assets`, a model card beside each): the audio
encoder was trained on the synthetic speaker, the vocoders on two minutes of human speech, so that
istft-vocoder repeats the sentence, and so does the light net of mel inversion, with Griffin-Lim's phase;
HiFi-GAN V3 is exported and proved beside them. Where weights are missing, random ones replace them, and the
result is noise. Either way the demo shows that the numbers agree on every backend of this machine, from the
sentence to the last sample. The reference pack has features computed by onnxruntime; a second pack, which
stands for an app's, has those of the Core ML program in our executor and is checked against the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_export import convert
from edge_export.assets import SENTENCE, WEIGHTS
from edge_export.proof import verify as parity
from edge_export.proof.reference import CheckReport, check_reference, write_reference
from edge_export.run import mel, run
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.windows import encoder_windows
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.store.bundle import is_bundle
from edge_runtime.store.targets import replace_directory

SEED = 0


class Shipped(NamedTuple):
    """Weights of a net with their configuration beside them, and the preset where they are random."""

    file: str
    preset: str | None


BUNDLES = {
    "audio-encoder": Shipped("audio-encoder.safetensors", None),
    "istft-vocoder": Shipped("istft-vocoder-lj-22k.safetensors", "lj-22k"),
    "hifigan": Shipped("hifigan.safetensors", "v3"),
    "mel-inversion": Shipped("mel-inversion-light.safetensors", "light"),
}

WRITTEN = {
    "audio-encoder/": "bundle: ONNX and Core ML in fp32 and fp16, manifest, reference arrays",
    "istft-vocoder/": "bundle of the vocoder with the inverse STFT inside, the same",
    "hifigan/": "bundle of HiFi-GAN, the same",
    "talking-head/": "mel spectrogram and audio features of the sentence",
    "vocoder/": "the sentence → mel → istft-vocoder → the sentence (noise where weights are random)",
    "mel-inversion/": "bundle of mel inversion's light net, the same",
    "inverted/": "the sentence → mel → magnitude → Fast Griffin-Lim → the sentence, with figures",
    "hifigan-22k.npy": "the vocoder's mel spectrogram alone",
    "reference/": "every stage as .npy, with instructions, for developers of an app",
    "port/": "the same from the Core ML program in our executor, checked against reference/",
}


@dataclass(frozen=True)
class Demonstration:
    """Results of the demo. ``passed``: every artifact and the port's arrays are within tolerance."""

    out: Path
    verifications: tuple[parity.Verification, ...]
    port: CheckReport

    @property
    def passed(self) -> bool:
        return all(proof.passed for proof in self.verifications) and self.port.passed

    def table(self) -> str:
        """Every net on every backend, the port's arrays, and the list of what was written."""
        rows = [row for proof in self.verifications for row in proof.rows]
        files = parity.align([(str(self.out / name), meaning) for name, meaning in WRITTEN.items()])
        return f"{parity.table(rows)}\n\n{self.port.table()}\n\n{files}"


def demo(
    out: str | Path = "demo",
    *,
    sentence: str | Path = SENTENCE,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda _line: None,
) -> Demonstration:
    """Do everything once, into a new folder ``out``.

    Raises:
        TargetError: ``out`` exists and is no earlier demo, or ``overwrite`` is not given.
        InputError: the sentence is not audio, or too short.
    """
    _check(sentence)
    with replace_directory(out, overwrite=overwrite, ours=_is_demo) as folder:
        for net in BUNDLES:
            progress(f"{net}: exporting")
            export_net(net, folder / net, progress)
        proofs = tuple(parity.verify(folder / net, progress=progress) for net in BUNDLES)
        progress("running three pipelines")
        run("talking-head", sentence, [folder / "audio-encoder"], folder / "talking-head")
        run("vocoder", sentence, [folder / "istft-vocoder"], folder / "vocoder")
        run("mel-inversion", sentence, [folder / "mel-inversion"], folder / "inverted")
        mel(sentence, "hifigan-22k", folder / "hifigan-22k.npy")
        progress("writing the reference pack, and checking a port against it")
        port = _check_port(sentence, folder)
    return Demonstration(Path(out), proofs, port)


def export_net(net: str, bundle: Path, progress: Callable[[str], None]) -> None:
    """Export with the demonstration weights, or with random ones where there are none."""
    file, preset = BUNDLES[net]
    weights = WEIGHTS / file
    if weights.is_file():
        convert.export(net, bundle, checkpoint=weights, progress=progress)
    else:
        convert.export(net, bundle, random=SEED, preset=preset, progress=progress)


def _check(sentence: str | Path) -> None:
    """Refuse an unusable sentence before minutes of exporting."""
    audio = read_audio(sentence, PRESETS["talking-head"].sample_rate)
    with pack.naming(sentence):
        encoder_windows(MelFrontEnd(PRESETS["talking-head"])(audio.samples))


def _check_port(sentence: str | Path, folder: Path) -> CheckReport:
    """A port that executes the Core ML program, against the pack that onnxruntime gives."""
    bundles = [folder / "audio-encoder"]
    write_reference("talking-head", sentence, bundles, folder / "reference")
    write_reference("talking-head", sentence, bundles, folder / "port", backend="mil")
    return check_reference(folder / "reference", folder / "port")


def _is_demo(folder: Path) -> bool:
    """Whether a folder holds an earlier demo and nothing else."""
    names = {entry.name for entry in folder.iterdir()} - {".DS_Store"}
    return names == {name.rstrip("/") for name in WRITTEN} and all(is_bundle(folder / net) for net in BUNDLES)
