"""sd-vae-encoder and sd-vae-decoder in the catalogue: two nets of the same weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_export.catalog.sd_unet import locate
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.image_speech.net_configs import SdVaeConfig

_PIXELS = "-1 to 1, black to white"


_ENCODER: Trained[SdVaeConfig] = Trained("sd-vae-encoder")
_DECODER: Trained[SdVaeConfig] = Trained("sd-vae-decoder")


def _latents(config: SdVaeConfig) -> Tensor:
    meaning = f"latents of the UNet divided by scaling_factor, {config.scaling_factor:g}"
    return Tensor("latent_sample", "float32", ("batch", 4, "height", "width"), meaning, "the VAE's own")


def _picture(height: str, width: str) -> Tensor:
    shape = ("batch", 3, height, width)
    return Tensor("sample", "float32", shape, "picture: red, green, blue, row 0 the top", _PIXELS)


def _parameters(_config: SdVaeConfig) -> Tensor:
    meaning = "of the latents: 4 means, then 4 logarithms of the variance"
    return Tensor(
        "latent_parameters",
        "float32",
        ("batch", 8, "latent_height", "latent_width"),
        meaning,
        "the VAE's own",
    )


def _decoder_cases(config: SdVaeConfig, _axes: Axes) -> dict[str, Arrays]:
    """Latents as they come from the UNet, of deviation 1 before they are divided: noise, and waves."""
    height, width = config.latent_size
    noise = np.random.default_rng(3).standard_normal((1, 4, height, width))
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 2.0 + shift) + np.sin(columns / 5.0 - shift) for shift in range(4)]
    cases = {"noise": noise, "waves": np.stack(waves)[None]}
    return {
        name: {"latent_sample": (latents / config.scaling_factor).astype(np.float32)}
        for name, latents in cases.items()
    }


def _encoder_cases(config: SdVaeConfig, _axes: Axes) -> dict[str, Arrays]:
    """A ramp with a grating on it, and noise."""
    rows, columns = np.mgrid[0 : config.height, 0 : config.width].astype(np.float64)
    grey = rows / config.height - 0.5 + 0.5 * np.sin(columns / 5.0)
    colours = np.stack([grey, grey * 0.5, -grey])[None].astype(np.float32)
    noise = np.random.default_rng(4).uniform(-1.0, 1.0, colours.shape).astype(np.float32)
    return {"grating": {"sample": colours}, "noise": {"sample": noise}}


def _fixed(height: int, width: int) -> Axes:
    return MappingProxyType(
        {"batch": Buckets((1,)), "height": Buckets((height,)), "width": Buckets((width,))}
    )


def _latent_axes(config: SdVaeConfig, _axes: Axes) -> Axes:
    return _fixed(*config.latent_size)


def _picture_axes(config: SdVaeConfig, _axes: Axes) -> Axes:
    return _fixed(config.height, config.width)


# 45 dB of the peak, which is 10 dB more than what is asked of the whole signal here
_TOLERANCE = MappingProxyType({"fp32": Tolerance(3e-4, 100.0), "fp16": Tolerance(5e-2, 40.0)})

DECODER: Net[SdVaeConfig] = Net(
    name="sd-vae-decoder",
    summary="latents to the picture: the decoder of Stable Diffusion's VAE",
    signature="latent_sample (batch, 4, height, width) -> sample (batch, 3, picture_height, picture_width)",
    presets=("sd15", "tiny"),
    preset=_DECODER.preset,
    config_from_json=_DECODER.config_from_json,
    build=_DECODER.build,
    inputs=lambda config: (_latents(config),),
    outputs=lambda _: (_picture("picture_height", "picture_width"),),
    front_end=lambda _: None,
    geometry=lambda _: Geometry(None, None, None),
    tolerance=_TOLERANCE,
    cases=_decoder_cases,
    coreml_axes=_fixed(32, 128),
    random_rms=0.5,
    locate=lambda source: locate("vae", source),
    axes_of=_latent_axes,
)

ENCODER: Net[SdVaeConfig] = Net(
    name="sd-vae-encoder",
    summary="a picture to its latents: the encoder of Stable Diffusion's VAE",
    signature="sample (batch, 3, height, width) -> latent_parameters (batch, 8, latent_height, latent_width)",
    presets=("sd15", "tiny"),
    preset=_ENCODER.preset,
    config_from_json=_ENCODER.config_from_json,
    build=_ENCODER.build,
    inputs=lambda _: (_picture("height", "width"),),
    outputs=lambda config: (_parameters(config),),
    front_end=lambda _: None,
    geometry=lambda _: Geometry(None, None, None),
    tolerance=_TOLERANCE,
    cases=_encoder_cases,
    coreml_axes=_fixed(256, 1024),
    locate=lambda source: locate("vae", source),
    axes_of=_picture_axes,
    steps=lambda config: {"height": config.multiple, "width": config.multiple},
)
