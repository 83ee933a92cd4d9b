"""The pipeline on Core ML packages, by the executor: fixed sizes, a batch of two, whole numbers as ids."""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters import mil
from tests import small_diffusion

from edge_export.backends import get_backend
from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech
from edge_runtime.store.bundle import Lengths, describe_artifact, open_bundle

mb: Any = mil.Builder
ROLES = ("image_unet", "audio_unet", "vae_decoder", "image_text", "audio_text")
WIDTH, LATENTS = 64, (32, 8)


def made(program: Callable[..., Any], *shapes: tuple[int, ...], dtype: Any = mil.mil.types.fp32) -> Any:
    """The function as a program of inputs of these shapes."""
    specs = [mb.TensorSpec(shape, dtype=dtype) for shape in shapes]
    return mb.program(input_specs=specs, opset_version=ct.target.iOS16)(program)


def unet(name: str) -> Any:
    """`small_diffusion.write_unet` as a program of a pair."""

    def program(sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
        mean = mb.reduce_mean(x=encoder_hidden_states, axes=[1, 2], keep_dims=False)
        time = mb.mul(x=timestep, y=np.float32(1e-4))
        own = mb.reshape(x=mb.add(x=mean, y=time), shape=[2, 1, 1, 1])
        kept = mb.mul(x=sample, y=np.float32(small_diffusion.GAINS[name]))
        return mb.add(x=kept, y=own, name="noise_pred")

    return made(program, (2, 4, *LATENTS), (2,), (2, 77, small_diffusion.WIDTH))


def vae(_name: str) -> Any:
    """`small_diffusion.write_vae`."""

    def program(latent_sample: Any) -> Any:
        colours = mb.conv(x=latent_sample, weight=small_diffusion.MIX[:, :, None, None])
        return mb.upsample_nearest_neighbor(
            x=colours, scale_factor_height=8, scale_factor_width=8, name="sample"
        )

    return made(program, (1, 4, *LATENTS))


def text(name: str) -> Any:
    """`small_diffusion.write_text`."""
    looked_up = small_diffusion.table() * np.float32(1 if name == "image" else 2)

    def program(input_ids: Any) -> Any:
        states = mb.gather(x=looked_up, indices=input_ids, axis=0, name="last_hidden_state")
        return states, mb.reduce_mean(x=states, axes=[1], keep_dims=False, name="pooler_output")

    return made(program, (1, 77), dtype=mil.mil.types.int32)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The parts as ONNX, and as packages."""
    place = tmp_path_factory.mktemp("small")
    parts, packages = small_diffusion.write_parts(place / "parts"), place / "packages"
    with warnings.catch_warnings():
        # a converted model leaves temporary folders to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        convert(parts, packages)
        gc.collect()
    return parts, packages


def convert(parts: Path, packages: Path) -> None:
    """The packages of ONNX bundles."""
    programs: dict[str, Callable[[str], Any]] = {"unet": unet, "decoder": vae, "text": text}
    for role in ROLES:
        name, _, kind = role.partition("_")
        manifest = open_bundle(parts / role).manifest
        folder = packages / role
        shutil.copytree(parts / role, folder, ignore=shutil.ignore_patterns("model*", "manifest.json"))
        model = ct.convert(
            programs[kind](name),
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
        )
        model.save(str(folder / "model.mlpackage"))
        del model
        batch = 2 if kind == "unet" else 1
        fixed = {"batch": batch, "height": LATENTS[0], "width": LATENTS[1], "tokens": 77}
        known = {axis for tensor in manifest.inputs for axis in tensor.shape if isinstance(axis, str)}
        artifact = describe_artifact(
            folder, "model.mlpackage", target="coreml", precision="fp32", version="iOS16, specification 7",
            axes={axis: Lengths(fixed[axis], fixed[axis], (fixed[axis],)) for axis in sorted(known)},
        )  # fmt: skip
        replace(manifest, artifacts=(artifact,)).save(folder)


def opened(folder: Path, **options: Any) -> ImageSpeech:
    """The pipeline of a folder of parts."""
    common: dict[str, Any] = {"width": WIDTH, "steps": 3, "iterations": 1}
    return ImageSpeech(*(folder / role for role in ROLES), **(common | options))


def test_packages_paint_the_same_picture(both: tuple[Path, Path]) -> None:
    parts, packages = both
    expected = opened(parts).process("a castle", "a bell")
    found = opened(packages, backend=get_backend("mil")).process("a castle", "a bell")
    np.testing.assert_array_equal(found.audio.states, expected.audio.states)
    np.testing.assert_allclose(found.latents["joint"], expected.latents["joint"], atol=1e-4)
    np.testing.assert_allclose(found.spectrogram, expected.spectrogram, atol=1e-4)
    assert found.spectrogram.std() > 0.1


def test_packages_have_one_size(both: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r"--width: got 128, expected 64; .*image_unet was exported for 64"):
        opened(both[1], backend=get_backend("mil"), width=128)
