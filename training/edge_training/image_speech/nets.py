"""Stable Diffusion's nets: diffusers' and transformers' own modules, tensors in and tensors out.

    SdUnet        sample (B, 4, h, w), timestep (B,), encoder_hidden_states (B, S, C) → noise (B, 4, h, w)
    SdVaeDecoder  latents (B, 4, h, w), divided by scaling_factor → picture (B, 3, 8h, 8w), about −1 … 1
    SdVaeEncoder  picture (B, 3, H, W) → mean and log variance of latents (B, 8, H/8, W/8)
    ClipText      ids (B, S) int32 → hidden states (B, S, C) after the last norm, and that of the end (B, C)

Their weights keep the names that published files have. Attention is computed by PyTorch's own function
(AttnProcessor2_0): diffusers' older processor would be traced with gigabytes of zeros.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edge_training.image_speech.libraries import library
from edge_training.image_speech.net_configs import ClipTextConfig, SdUnetConfig, SdVaeConfig

_transformers: Any = library("transformers")
# untyped, and bases of classes all the same
_Unet: Any = library("diffusers").UNet2DConditionModel
_Vae: Any = library("diffusers").AutoencoderKL
_Text: Any = _transformers.CLIPTextModel


class SdUnet(_Unet):  # type: ignore[misc]
    """diffusers' UNet of a prompt."""

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        """(B, 4, h, w), (B,), (B, S, C) → (B, 4, h, w)."""
        noise: Tensor = super().forward(sample, timestep, encoder_hidden_states, return_dict=False)[0]
        return noise


class SdVaeDecoder(_Vae):  # type: ignore[misc]
    """The whole VAE, of which the decoder runs."""

    def forward(self, latent_sample: Tensor) -> Tensor:
        """(B, 4, h, w) → (B, 3, 8h, 8w)."""
        picture: Tensor = self.decoder(self.post_quant_conv(latent_sample))
        return picture


class SdVaeEncoder(_Vae):  # type: ignore[misc]
    """The whole VAE, of which the encoder runs."""

    def forward(self, sample: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 8, H/8, W/8): mean, then logarithm of the variance."""
        parameters: Tensor = self.quant_conv(self.encoder(sample))
        return parameters


class ClipText(_Text):  # type: ignore[misc]
    """transformers' text encoder of CLIP."""

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S) → (B, S, C), (B, C)."""
        states = super().forward(input_ids=input_ids)
        return states.last_hidden_state, states.pooler_output


def build_unet(config: SdUnetConfig) -> nn.Module:
    """The UNet in its initial state."""
    return _module(SdUnet(**config.diffusers()))


def build_vae_decoder(config: SdVaeConfig) -> nn.Module:
    """The VAE in its initial state, to decode."""
    return _module(SdVaeDecoder(**config.diffusers()))


def build_vae_encoder(config: SdVaeConfig) -> nn.Module:
    """The VAE in its initial state, to encode."""
    return _module(SdVaeEncoder(**config.diffusers()))


def build_clip_text(config: ClipTextConfig) -> nn.Module:
    """The text encoder in its initial state."""
    settings = _transformers.CLIPTextConfig(**config.to_json(), bos_token_id=0, pad_token_id=1)
    net = ClipText(settings)
    net.loss_type = "ForCausalLM"  # tracing looks at every property, and the loss's would warn
    return _module(net)


def _module(made: Any) -> nn.Module:
    """Tells the type checker what the libraries' classes are."""
    assert isinstance(made, nn.Module)
    return made
