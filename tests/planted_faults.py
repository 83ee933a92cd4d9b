"""Twelve faults that people really make, planted in small nets and pipelines, for `edge-export bisect`.

    python -m tests.planted_faults        searches all twelve, prints the table

Each fault is a function (folder) → `Planted`: what to give to `bisect`, and which operation or stage is
right. Artifacts are changed as a wrong exporter would write them; the bundle's manifest is sealed again, so
that only the numbers are wrong.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper
from tests import small_nets
from tests.small_ecog import DECODER, small_bundle

from edge_export.catalog import get_net
from edge_export.convert import export, module_of
from edge_export.mil.blob import BlobFile
from edge_export.mil.package import read_model
from edge_export.proof.bisect.nets import bisect
from edge_export.proof.bisect.packs import bisect_pack
from edge_export.proof.reference import write_reference
from edge_export.to_onnx.exporter import write_onnx
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.resampling import resample
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.store.bundle import Bundle, describe_artifact, open_bundle
from edge_training.vocoder.istft_vocoder import IstftVocoderConfig

Weights = NDArray[np.float32]
VOCODER_MEL = replace(
    PRESETS["hifigan-22k"], sample_rate=8000, n_fft=128, win_length=128, hop_length=40, n_mels=16, fmax=None
)
VOCODER = IstftVocoderConfig(
    mel=VOCODER_MEL, width=12, expansion=2, blocks=2, kernel=3, embed_kernel=3, look_ahead=1
)

CONFIGS: Mapping[str, dict[str, Any]] = {
    "istft-vocoder": VOCODER.to_json(),
    "ecog-decoder": DECODER | {"family": "gru"},
}


@dataclass(frozen=True)
class Planted:
    """A fault in its place.

    Args:
        place: the bundle, or the pack.
        right: parts that the place named must have: of operation and module, or of stage and guess.
        artifact: which one was changed; "" for a pack.
        candidate: what to compare a pack with.
        checkpoint: of the bundle, where its weights are not from a seed.
        case: the only one that is looked at.
    """

    place: Path
    right: tuple[str, ...]
    artifact: str = ""
    candidate: Path | None = None
    checkpoint: Path | None = None
    case: str | None = None

    def named(self) -> str:
        """What `bisect` names."""
        if self.candidate is not None:
            found = bisect_pack(self.place, self.candidate).culprit
            return f"{found.name}: {found.guess}" if found else ""
        options: dict[str, Any] = {"checkpoint": self.checkpoint, "case": self.case}
        result = bisect(self.place, artifacts=[self.artifact], **options)
        culprit = result.searches[0].found.culprit
        return f"{culprit.main.place} {culprit.line}" if culprit else ""


# ---- bundles, each exported once --------------------------------------------------------------------------


GIVEN: dict[str, Path] = {}  # net → a bundle that is there already, as tests share them


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="planted-"))


@cache
def hifigan() -> Path:
    """A small HiFi-GAN in all artifacts."""
    if "hifigan" in GIVEN:
        return GIVEN["hifigan"]
    out = _folder() / "hifigan"
    export("hifigan", out, random=1, config=small_nets.CONFIG.to_json(), frame_buckets=[16, 24])
    return out


@cache
def _exported(net: str) -> Path:
    """A small net in ONNX, float32."""
    if net in GIVEN:
        return GIVEN[net]
    out = _folder() / net
    export(net, out, random=1, config=CONFIGS.get(net), targets=["onnx"], precisions=["fp32"])
    return out


def vocoder() -> Path:
    """A small istft-vocoder in ONNX."""
    return _exported("istft-vocoder")


def _copied(bundle: Path, folder: Path) -> Bundle:
    shutil.copytree(bundle, folder / "bundle")
    return open_bundle(folder / "bundle")


def _sealed(bundle: Bundle, path: str) -> Path:
    """The bundle with the manifest's entry of a changed artifact made anew."""
    artifacts = tuple(
        describe_artifact(
            bundle.path,
            path,
            target=a.target,
            precision=a.precision,
            version=a.version,
            axes=a.axes,
            form=a.form,
        )
        if a.path == path
        else a
        for a in bundle.manifest.artifacts
    )
    replace(bundle.manifest, artifacts=artifacts).save(bundle.path)
    return bundle.path


# ---- changing an ONNX file --------------------------------------------------------------------------------


def _change(folder: Path, source: Path, change: Callable[[ModelProto], None]) -> Path:
    bundle = _copied(source, folder)
    model = onnx.load(bundle.path / "model.onnx")
    change(model)
    (bundle.path / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    return _sealed(bundle, "model.onnx")


def _node(model: ModelProto, kind: str, part: str = "") -> NodeProto:
    found: NodeProto = next(n for n in model.graph.node if n.op_type == kind and part in n.name)
    return found


def _set(node: NodeProto, **attributes: Any) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())


def _with_weight(model: ModelProto, name: str, change: Callable[[Weights], Weights]) -> None:
    """Change a weight or a constant of the graph."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = np.ascontiguousarray(change(numpy_helper.to_array(tensor).copy()))
            tensor.CopyFrom(numpy_helper.from_array(values, name))
            return
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            values = np.asarray(change(numpy_helper.to_array(node.attribute[0].t).copy()), np.float32)
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(values))
            return
    raise AssertionError(name)


# ---- the nets' faults -------------------------------------------------------------------------------------


def gru_reset_order(folder: Path) -> Planted:
    """The reset gate before the matrix product, as Keras' first GRU had it (pytorch/pytorch#189225)."""

    def change(model: ModelProto) -> None:
        _set(_node(model, "GRU"), linear_before_reset=0)

    return Planted(
        _change(folder, _exported("ecog-decoder"), change),
        ("GRU", "base_model.rnn", "recurrent.py"),
        "model.onnx",
    )


def wrong_pad(folder: Path) -> Planted:
    """One convolution padded on one side alone."""

    def change(model: ModelProto) -> None:
        node = _node(model, "Conv", "/stages.1/blocks.1/chains.0.1/")
        (pads,) = ([*a.ints] for a in node.attribute if a.name == "pads")
        last = pads[3] or 1
        _set(node, pads=[pads[0], pads[1] + last, pads[2], pads[3] - last])

    return Planted(_change(folder, hifigan(), change), ("Conv", "stages.1.blocks.1.chains.0.1"), "model.onnx")


def half_overflow(folder: Path) -> Planted:
    """A trained net whose one layer leaves float16's range, though its outputs are harmless."""
    bundle = open_bundle(hifigan())
    module = module_of(bundle.manifest)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for name, factor in (("conv_pre.weight", 1e5), ("conv_pre.bias", 1e5), ("ups.0.weight", 1e-5)):
        state[name] *= factor
    checkpoint = folder / "net.pt"
    torch.save({"generator": state}, checkpoint)
    out = folder / "bundle"
    options: dict[str, Any] = {"targets": ["onnx"], "precisions": ["fp16"]}
    export("hifigan", out, checkpoint=checkpoint, config=small_nets.CONFIG.to_json(), **options)
    return Planted(out, ("Conv", "conv_pre"), "model.fp16.onnx", checkpoint=checkpoint)


def transposed_weight(folder: Path) -> Planted:
    """A square weight with inputs and outputs exchanged, in a Core ML package."""
    name = "resblocks_2_convs2_1"
    place = _change_package(folder, f"{name}_weight", lambda weight: weight.swapaxes(0, 1))
    return Planted(place, ("conv", "resblocks.2.convs2.1", "hifigan.py"), "model.mlpackage")


def dithered_weights(folder: Path) -> Planted:
    """Noise of a hundredth in the weights of one layer, in a Core ML package."""

    def dithered(weight: Weights) -> Weights:
        noise = np.random.default_rng(0).normal(0, 0.01 * weight.std(), weight.shape)
        return np.asarray(weight + noise, np.float32)

    place = _change_package(folder, "resblocks_4_convs1_2_weight", dithered)
    return Planted(place, ("conv", "resblocks.4.convs1.2", "hifigan.py"), "model.mlpackage")


def epsilon_dropped(folder: Path) -> Planted:
    """A LayerNorm without its ε, where a quiet net needs it."""
    bundle = open_bundle(vocoder())
    module = module_of(bundle.manifest)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state["embed.weight"] *= 1e-3
    state["embed.bias"] *= 1e-3
    checkpoint = folder / "net.pt"
    torch.save(state, checkpoint)
    source = folder / "source"
    options: dict[str, Any] = {"targets": ["onnx"], "precisions": ["fp32"]}
    export("istft-vocoder", source, checkpoint=checkpoint, config=VOCODER.to_json(), **options)

    def change(model: ModelProto) -> None:
        _set(_node(model, "LayerNormalization", "/norm/"), epsilon=0.0)

    place = _change(folder, source, change)
    return Planted(place, ("LayerNormalization", "norm"), "model.onnx", checkpoint=checkpoint)


def lost_statistics(folder: Path) -> Planted:
    """A batch norm exported with the running statistics of its first day: mean 0, variance 1."""
    source = _exported("audio-encoder")
    bundle = _copied(source, folder)
    module = module_of(bundle.manifest)
    norm = module.get_submodule("audio_encoder.5.conv_block.1")
    assert isinstance(norm, torch.nn.BatchNorm2d)
    norm.reset_running_stats()
    net = get_net("audio-encoder")
    config = net.config_from_json(bundle.manifest.config)
    write_onnx(module, net, config, bundle.path / "model.onnx", "fp32")
    place = _sealed(bundle, "model.onnx")
    right = ("Conv", "audio_encoder.5.conv_block.0", "audio_encoder.py")
    return Planted(place, right, "model.onnx", case="batch-1")


def wrong_clamp(folder: Path) -> Planted:
    """The floor under the logarithm of the prior, ten times as high."""

    def change(model: ModelProto) -> None:
        logarithm = _node(model, "Log")
        clip = next(node for node in model.graph.node if node.output[0] == logarithm.input[0])
        bound = next(name for name in clip.input[1:] if name)
        _with_weight(model, bound, lambda value: value * np.float32(10))

    return Planted(_change(folder, vocoder(), change), ("Clip", "istft_vocoder.py"), "model.onnx")


def _change_package(folder: Path, weight: str, change: Callable[[Weights], Weights]) -> Path:
    """The small HiFi-GAN with one weight of its fp32 Core ML package changed in place."""
    bundle = _copied(hifigan(), folder)
    package = bundle.path / "model.mlpackage"
    model, place = read_model(package)
    function = model.mlProgram.functions["main"]
    (operation,) = (
        op for op in function.block_specializations[function.opset].operations if op.outputs[0].name == weight
    )
    value = operation.attributes["val"]
    shape = tuple(d.constant.size for d in value.type.tensorType.dimensions)
    file = place / value.blobFileValue.fileName.removeprefix("@model_path/")
    stored = np.array(BlobFile.open(file).read(value.blobFileValue.offset, shape))
    content = bytearray(file.read_bytes())
    begin = bytes(content).index(stored.tobytes())
    changed = np.ascontiguousarray(change(stored), np.float32).tobytes()
    content[begin : begin + len(changed)] = changed
    file.write_bytes(content)
    return _sealed(bundle, "model.mlpackage")


# ---- the pipelines' faults --------------------------------------------------------------------------------


@cache
def _pack() -> Path:
    """The reference pack of a vocoder, of a second of the sentence."""
    from edge_export.assets import SENTENCE

    audio = read_audio(SENTENCE, VOCODER_MEL.sample_rate).samples[2000:10000]
    write_wav(_folder() / "speech.wav", audio, VOCODER_MEL.sample_rate, "float32")
    return write_reference("vocoder", _folder() / "speech.wav", [vocoder()], _folder() / "pack")


def _ported(folder: Path, mel: NDArray[Any]) -> Planted:
    """A port whose mel is another, and whose net is right."""
    from edge_runtime.pipelines.vocoder.pipeline import Vocoder

    port = folder / "port"
    port.mkdir()
    np.save(port / "mel.npy", mel.astype(np.float32))
    np.save(port / "wav.npy", Vocoder(open_bundle(vocoder())).synthesize(mel.astype(np.float32)))
    return Planted(_pack(), (), candidate=port)


def _pack_audio() -> NDArray[Any]:
    return read_audio(_pack() / "reference_audio.wav").samples.astype(np.float64)


def htk_for_slaney(folder: Path) -> Planted:
    """The mel scale of HTK (tanmayb123/OpenAI-Whisper-CoreML#2 and many more)."""
    mel = MelFrontEnd(replace(VOCODER_MEL, mel_scale="htk"))(_pack_audio())
    return replace(_ported(folder, mel), right=("mel.npy", "HTK's mel scale"))


def symmetric_window(folder: Path) -> Planted:
    """np.hanning, or vDSP's window without its flag: symmetric."""
    framed = np.pad(_pack_audio(), VOCODER_MEL.stft.pad, mode="reflect")
    starts = range(0, framed.size - VOCODER_MEL.n_fft + 1, VOCODER_MEL.hop_length)
    frames = np.stack([framed[s : s + VOCODER_MEL.n_fft] * np.hanning(VOCODER_MEL.n_fft) for s in starts])
    power = np.abs(np.fft.rfft(frames)) ** 2 + VOCODER_MEL.epsilon
    from edge_runtime.dsp.mel import filter_bank

    mel = np.log(np.maximum(filter_bank(VOCODER_MEL) @ np.sqrt(power).T, VOCODER_MEL.floor))
    return replace(_ported(folder, mel), right=("mel.npy", "symmetric window"))


def resampler_phase(folder: Path) -> Planted:
    """A resampler whose output stands half a sample late."""
    early = resample(_pack_audio(), VOCODER_MEL.sample_rate, 2 * VOCODER_MEL.sample_rate)
    late = np.concatenate([early[:1], early])[: early.size]  # one sample of the doubled rate
    audio = resample(late, 2 * VOCODER_MEL.sample_rate, VOCODER_MEL.sample_rate)
    mel = MelFrontEnd(VOCODER_MEL)(audio)
    return replace(_ported(folder, mel), right=("mel.npy", "0.5 samples late"))


def swapped_formants(folder: Path) -> Planted:
    """F1 and F2 exchanged between the decoder and the synthesizer."""
    pack, decoder, synthesizer = _ecog_pack()
    port = folder / "port"
    shutil.copytree(pack, port)
    from edge_runtime.pipelines.ecog_speech.pipeline import EcogSpeech

    class Swapping(EcogSpeech):
        """A port with the fault."""

        def decode(self, window: NDArray[Any]) -> Any:
            parameters = super().decode(window)
            name = "freq_formants_hamon_hz"
            rows = parameters[name]
            order = [1, 0, *range(2, rows.shape[-2])]
            return {**parameters, name: np.ascontiguousarray(rows.take(order, axis=-2))}

    pipeline = Swapping(open_bundle(decoder), open_bundle(synthesizer))
    result = pipeline.process(np.load(pack / "ecog.npy"), np.load(pack / "background.npy"))
    arrays: Mapping[str, Any] = {"spectrogram": result.spectrogram, **result.parameters}
    for name, values in arrays.items():
        if (port / f"{name}.npy").is_file():
            np.save(port / f"{name}.npy", values)
    return Planted(pack, ("freq_formants_hamon_hz.npy", "0 is 1, 1 is 0"), candidate=port)


@cache
def _ecog_pack() -> tuple[Path, Path, Path]:
    from tests.recorded_ecog import recorded

    from edge_runtime.pipelines.ecog_speech.recordings import write_recording

    folder = _folder() / "ecog"
    folder.mkdir()
    decoder = small_bundle("ecog-decoder", folder / "decoder").path
    synthesizer = small_bundle("formant-synthesizer", folder / "synthesizer").path
    write_recording(folder / "S1.h5", recorded())
    pack = write_reference("ecog-speech", folder / "S1.h5", [decoder, synthesizer], folder / "pack")
    return pack, decoder, synthesizer


FAULTS: Mapping[str, Callable[[Path], Planted]] = {
    "HTK for Slaney": htk_for_slaney,
    "symmetric window": symmetric_window,
    "GRU reset order": gru_reset_order,
    "wrong pad of one convolution": wrong_pad,
    "fp16 overflow of one layer": half_overflow,
    "swapped formant channels": swapped_formants,
    "transposed weight": transposed_weight,
    "epsilon dropped": epsilon_dropped,
    "resampler's phase": resampler_phase,
    "running statistics of batch norm": lost_statistics,
    "wrong clamp": wrong_clamp,
    "dither of weights in one layer": dithered_weights,
}


def main() -> int:
    """Plant and search all; 0 where eleven of twelve or more are named."""
    named = 0
    for name, plant in FAULTS.items():
        with tempfile.TemporaryDirectory() as folder:
            planted = plant(Path(folder))
            begun = time.perf_counter()
            told = planted.named()
            right = all(part in told for part in planted.right)
            named += right
            seconds = time.perf_counter() - begun
            print(f"{name:34} {'named' if right else 'MISSED':7} {seconds:5.1f} s  {told}", flush=True)
    shutil.rmtree(_folder())
    print(f"{named} of {len(FAULTS)} named")
    return 0 if named >= len(FAULTS) - 1 else 1


if __name__ == "__main__":
    sys.exit(main())
