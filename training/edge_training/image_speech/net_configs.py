"""Configurations of Stable Diffusion's nets, read from diffusers' config.json.

A file of diffusers has some fifty entries a net. Those that differ among models of Stable Diffusion's first
and second generation are fields here; every other one must have the value that diffusers computes by default,
and is refused otherwise: such a net would load and compute something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar

from edge_runtime.errors import ConfigError
from edge_training.engine.config import JsonConfig, Rule, is_number, is_whole
from edge_training.image_speech.tiny import TEXT, UNET, VAE

FACTOR = 8  # pixels of the picture for each latent, each way
LATENT_CHANNELS = 4
MOST_PIXELS = 8192  # of one side
MOST_CHANNELS = 16384
MOST_LAYERS = 128
HEIGHT, WIDTH = 256, 1024  # of a picture that is 10.24 s of sound

_DOWN = frozenset({"CrossAttnDownBlock2D", "DownBlock2D"})
_UP = frozenset({"CrossAttnUpBlock2D", "UpBlock2D"})


def _whole_list(value: object, most: int) -> bool:
    return (
        isinstance(value, tuple)
        and 1 <= len(value) <= 8
        and all(is_whole(item, least=1, most=most) for item in value)
    )


@dataclass(frozen=True, kw_only=True)
class _Pictured(JsonConfig):
    """A net with pictures or latents: Core ML packages and reference cases have one size."""

    height: int = HEIGHT  # pixels of the picture
    width: int = WIDTH

    @property
    def multiple(self) -> int:
        """Pixels that both sides are a multiple of."""
        return FACTOR

    @property
    def latent_size(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return self.height // FACTOR, self.width // FACTOR

    def _rules(self) -> Iterator[Rule]:
        for name in ("height", "width"):
            size = getattr(self, name)
            expected = f"pixels, a multiple of {self.multiple} up to {MOST_PIXELS}"
            yield name, expected, is_whole(size, least=1, most=MOST_PIXELS) and size % self.multiple == 0


@dataclass(frozen=True, kw_only=True)
class SdUnetConfig(_Pictured):
    """The UNet, by diffusers' names, and the noise that it was trained with, by its scheduler's.

    >>> SD_UNET_PRESETS["sd15"].latent_size, SD_UNET_PRESETS["sd15"].multiple
    ((32, 128), 64)
    """

    in_channels: int = LATENT_CHANNELS
    out_channels: int = LATENT_CHANNELS
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    cross_attention_dim: int = 768
    attention_head_dim: int | tuple[int, ...] = 8  # heads, in spite of its name
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    act_fn: str = "silu"
    use_linear_projection: bool = False
    upcast_attention: bool = False
    # of the scheduler
    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    steps_offset: int = 1
    prediction_type: str = "epsilon"
    set_alpha_to_one: bool = False
    timestep_spacing: str = "leading"

    part: ClassVar[str] = "unet"
    class_name: ClassVar[str] = "UNet2DConditionModel"

    @property
    def latent_multiple(self) -> int:
        """Latents that both sides are a multiple of: the blocks halve them so often."""
        return int(2 ** (len(self.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """Pixels that both sides are a multiple of."""
        return FACTOR * self.latent_multiple

    def diffusers(self) -> dict[str, Any]:
        """Arguments of diffusers' class."""
        own = ("height", "width", *SCHEDULE)
        return {name: value for name, value in self.to_json().items() if name not in own}

    def _rules(self) -> Iterator[Rule]:
        blocks = len(self.block_out_channels) if isinstance(self.block_out_channels, tuple) else 0
        yield (
            "block_out_channels",
            "a list of whole numbers",
            _whole_list(self.block_out_channels, MOST_CHANNELS),
        )
        for name, known in (("down_block_types", _DOWN), ("up_block_types", _UP)):
            types = getattr(self, name)
            holds = isinstance(types, tuple) and len(types) == blocks and all(kind in known for kind in types)
            yield name, f"{blocks} of {' and '.join(sorted(known))}", holds
        for name in ("in_channels", "out_channels"):
            yield name, f"{LATENT_CHANNELS}, of the latents", getattr(self, name) == LATENT_CHANNELS
        for name, most in (("layers_per_block", 8), ("cross_attention_dim", MOST_CHANNELS)):
            yield name, f"a whole number, 1 to {most}", is_whole(getattr(self, name), least=1, most=most)
        heads = self.attention_head_dim
        many = heads if isinstance(heads, tuple) else (heads,) * blocks
        yield (
            "attention_head_dim",
            f"a whole number, or {blocks} of them",
            (_whole_list(many, MOST_CHANNELS) and len(many) == blocks),
        )
        yield (
            "attention_head_dim",
            "numbers of heads that divide block_out_channels",
            all(channels % count == 0 for channels, count in zip(self.block_out_channels, many, strict=True)),
        )
        groups = self.norm_num_groups
        divides = is_whole(groups, least=1) and not any(size % groups for size in self.block_out_channels)
        yield "norm_num_groups", "a whole number that divides block_out_channels", divides
        yield "norm_eps", "a number above 0", is_number(self.norm_eps, least=1e-30, most=1.0)
        yield "act_fn", "silu", self.act_fn == "silu"
        for name in ("use_linear_projection", "upcast_attention", "set_alpha_to_one"):
            yield name, "true or false", isinstance(getattr(self, name), bool)
        yield from super()._rules()
        from edge_runtime.pipelines.image_speech.noise_schedule import NoiseSchedule

        NoiseSchedule(**{name: getattr(self, name) for name in SCHEDULE})  # raises by the entry's name


SCHEDULE = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "steps_offset", "prediction_type",
    "set_alpha_to_one", "timestep_spacing",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SdVaeConfig(_Pictured):
    """The VAE, by diffusers' names; four blocks, three of which halve: factor 8."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",) * 4
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",) * 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = LATENT_CHANNELS
    norm_num_groups: int = 32
    act_fn: str = "silu"
    scaling_factor: float = 0.18215  # latents of the UNet: those of the VAE times this

    part: ClassVar[str] = "vae"
    class_name: ClassVar[str] = "AutoencoderKL"

    def diffusers(self) -> dict[str, Any]:
        """Arguments of diffusers' class."""
        return {name: value for name, value in self.to_json().items() if name not in ("height", "width")}

    def _rules(self) -> Iterator[Rule]:
        yield (
            "block_out_channels",
            "a list of whole numbers",
            _whole_list(self.block_out_channels, MOST_CHANNELS),
        )
        factor = 2 ** (len(self.block_out_channels) - 1)
        expected = (
            f"4 blocks, whose factor is {FACTOR}; {len(self.block_out_channels)} have the factor {factor}"
        )
        yield "block_out_channels", expected, factor == FACTOR
        for name, kind in (
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ):
            yield name, f"{kind}, four times", getattr(self, name) == (kind,) * 4
        for name in ("in_channels", "out_channels"):
            yield name, "3, red, green and blue", getattr(self, name) == 3
        yield "latent_channels", str(LATENT_CHANNELS), self.latent_channels == LATENT_CHANNELS
        yield "layers_per_block", "a whole number, 1 to 8", is_whole(self.layers_per_block, least=1, most=8)
        groups = self.norm_num_groups
        divides = is_whole(groups, least=1) and not any(size % groups for size in self.block_out_channels)
        yield "norm_num_groups", "a whole number that divides block_out_channels", divides
        yield "act_fn", "silu", self.act_fn == "silu"
        yield "scaling_factor", "a number above 0", is_number(self.scaling_factor, least=1e-6, most=1e6)
        yield from super()._rules()


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig(JsonConfig):
    """CLIP's text encoder, by transformers' names."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 77
    vocab_size: int = 49408
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    # 2, as in Stable Diffusion's file, stands for «where the largest id of the row is», not for a token
    eos_token_id: int = 2

    part: ClassVar[str] = "text_encoder"
    class_name: ClassVar[str] = "CLIPTextModel"

    def _rules(self) -> Iterator[Rule]:
        for name, most in (
            ("hidden_size", MOST_CHANNELS),
            ("intermediate_size", MOST_CHANNELS),
            ("num_hidden_layers", MOST_LAYERS),
            ("num_attention_heads", MOST_LAYERS),
            ("max_position_embeddings", 4096),
            ("vocab_size", 1 << 20),
        ):
            yield name, f"a whole number, 1 to {most}", is_whole(getattr(self, name), least=1, most=most)
        divides = self.hidden_size % self.num_attention_heads == 0
        yield "num_attention_heads", f"a divisor of hidden_size, {self.hidden_size}", divides
        yield "hidden_act", "quick_gelu or gelu", self.hidden_act in ("quick_gelu", "gelu")
        yield "layer_norm_eps", "a number above 0", is_number(self.layer_norm_eps, least=1e-30, most=1.0)
        yield "eos_token_id", "a token, or 2", is_whole(self.eos_token_id, least=0, most=self.vocab_size - 1)


# ---- diffusers' and transformers' files -------------------------------------------------------------------

# entries of config.json that are no part of the computation, or only of training
_UNREAD = frozenset({"sample_size", "force_upcast", "dropout", "latents_mean", "latents_std"})
_TEXT_UNREAD = frozenset(
    {
        "attention_dropout",
        "bos_token_id",
        "dropout",
        "initializer_factor",
        "initializer_range",
        "pad_token_id",
    }
    | {"projection_dim", "architectures", "dtype", "torch_dtype", "transformers_version", "model_type"}
)


def from_diffusers(entries: Mapping[str, Any], config: type[SdUnetConfig | SdVaeConfig]) -> dict[str, Any]:
    """Entries of diffusers' config.json as entries of ours; ours stay as they are.

    Raises:
        ConfigError: another class's file, or an entry that asks for what our net does not compute.
    """
    check_class(entries, config.class_name)
    known = {field.name for field in fields(config)}
    kept = {name: value for name, value in entries.items() if name in known}
    defaults = _ELSEWHERE[config.class_name]
    for name, value in entries.items():
        if name in known or name in _UNREAD or name.startswith("_"):
            continue
        if name not in defaults:
            kept[name] = value  # the reader says that it was left out, or asks what was meant
        elif value != defaults[name]:
            raise ConfigError(
                f"entry {name!r}",
                got=f"{value!r:.60}",
                expected=f"{defaults[name]!r}, as in Stable Diffusion 1 and 2",
                cause="models of other kinds (SDXL, inpainting, class conditions) have other inputs",
            )
    return kept


def from_transformers(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of transformers' config.json as entries of `ClipTextConfig`.

    Raises:
        ConfigError: another model's file.
    """
    kind = entries.get("model_type", "clip_text_model")
    if kind != "clip_text_model":
        raise ConfigError("entry 'model_type'", got=repr(kind), expected="'clip_text_model'")
    return {
        name: value
        for name, value in entries.items()
        if name not in _TEXT_UNREAD and not name.startswith("_")
    }


def check_class(entries: Mapping[str, Any], class_name: str) -> None:
    """Refuse a config.json of another class of diffusers."""
    found = entries.get("_class_name", class_name)
    if found != class_name:
        raise ConfigError(
            "entry '_class_name'",
            got=repr(found),
            expected=repr(class_name),
            cause="is it another part's file?",
        )


# what diffusers' classes compute where a file says nothing; entries that are fields here are not among them
_ELSEWHERE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "UNet2DConditionModel": {
            "center_input_sample": False,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
            "mid_block_type": "UNetMidBlock2DCrossAttn",
            "only_cross_attention": False,
            "downsample_padding": 1,
            "mid_block_scale_factor": 1,
            "transformer_layers_per_block": 1,
            "reverse_transformer_layers_per_block": None,
            "encoder_hid_dim": None,
            "encoder_hid_dim_type": None,
            "num_attention_heads": None,
            "dual_cross_attention": False,
            "class_embed_type": None,
            "addition_embed_type": None,
            "addition_time_embed_dim": None,
            "num_class_embeds": None,
            "resnet_time_scale_shift": "default",
            "resnet_skip_time_act": False,
            "resnet_out_scale_factor": 1.0,
            "time_embedding_type": "positional",
            "time_embedding_dim": None,
            "time_embedding_act_fn": None,
            "timestep_post_act": None,
            "time_cond_proj_dim": None,
            "conv_in_kernel": 3,
            "conv_out_kernel": 3,
            "projection_class_embeddings_input_dim": None,
            "attention_type": "default",
            "class_embeddings_concat": False,
            "mid_block_only_cross_attention": None,
            "cross_attention_norm": None,
            "addition_embed_type_num_heads": 64,
        },
        "AutoencoderKL": {
            "shift_factor": None,
            "use_quant_conv": True,
            "use_post_quant_conv": True,
            "mid_block_add_attention": True,
        },
    }
)

_SCHEDULER_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "steps_offset": 0,
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
    }
)


def schedule_of(entries: Mapping[str, Any], said: list[str]) -> dict[str, Any]:
    """The fields of `SCHEDULE` in a scheduler_config.json, with diffusers' defaults for what it leaves out.

    Raises:
        ConfigError: betas listed one by one, or a rule that `NoiseSchedule` names.
    """
    if entries.get("trained_betas") is not None:
        raise ConfigError("trained_betas", got="a list", expected="null, and a beta_schedule")
    if entries.get("clip_sample"):
        said.append(
            "clip_sample true of the scheduler not taken: latents go beyond 1, clipped ones are ruined"
        )
    # only DDIM ends without noise where its file says nothing
    last = {"set_alpha_to_one": entries.get("_class_name") == "DDIMScheduler"}
    taken = {**_SCHEDULER_DEFAULTS, **last}
    return {name: entries.get(name, taken[name]) for name in SCHEDULE}


def _tupled(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()}


_TINY_UNET = {name: value for name, value in _tupled(UNET).items() if name != "sample_size"}
_TINY_VAE = {name: value for name, value in _tupled(VAE).items() if name != "sample_size"}
_SMALL: Mapping[str, Any] = {"height": 64, "width": 128}  # so that trying it takes a second

SD_UNET_PRESETS: Mapping[str, SdUnetConfig] = MappingProxyType(
    {"sd15": SdUnetConfig(), "tiny": SdUnetConfig(**_TINY_UNET, **_SMALL)}
)
SD_VAE_PRESETS: Mapping[str, SdVaeConfig] = MappingProxyType(
    {"sd15": SdVaeConfig(), "tiny": SdVaeConfig(**_TINY_VAE, **_SMALL)}
)
CLIP_TEXT_PRESETS: Mapping[str, ClipTextConfig] = MappingProxyType(
    {
        "sd15": ClipTextConfig(),
        "tiny": replace(
            ClipTextConfig(),
            **{name: TEXT[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")},
            num_attention_heads=TEXT["num_attention_heads"],
            vocab_size=TEXT["vocab_size"],
        ),
    }
)
