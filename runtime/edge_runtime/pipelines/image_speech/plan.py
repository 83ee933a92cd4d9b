"""What is to be made, and how: the options of `image-speech` apart from its nets, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edge_runtime.errors import ConfigError
from edge_runtime.media.pictures import ColourMap
from edge_runtime.pipelines.image_speech.imprint import STRENGTH, check_strength
from edge_runtime.pipelines.image_speech.noise_schedule import Scheduler
from edge_runtime.pipelines.image_speech.picture import BANDS, FRAMES, FRONT_END

Method = Literal["joint", "imprint"]

STEPS = 100
CUT = 32  # columns of pixels: 4 of latents
MOST_GUIDANCE = 1000.0
FEWEST_COLUMNS = 1 + FRONT_END.n_fft // FRONT_END.hop_length  # of which sound is made


@dataclass(frozen=True)
class Plan:
    """Options of `ImageSpeech` by their names there; raises ConfigError."""

    method: Method = "joint"
    scheduler: Scheduler = "ddim"
    steps: int | None = None
    image_guidance: float = 10.0
    audio_guidance: float = 10.0
    image_start_step: int | None = None
    audio_start_step: int = 0
    audio_weight: float = 0.5
    strength: float | None = None
    height: int = BANDS
    width: int = FRAMES
    cutoff_latent: bool = False
    crop_image: bool = False
    seed: int = 0
    samples: int = 1
    colormap: ColourMap | None = None
    preview_every: int | None = None

    def __post_init__(self) -> None:
        choices = (("method", Method), ("scheduler", Scheduler), ("colormap", ColourMap))
        for name, kind in choices:
            value = getattr(self, name)
            if value not in get_args(kind) and (name, value) != ("colormap", None):
                raise ConfigError(f"--{name}", got=repr(value), expected=" or ".join(get_args(kind)))
        self._check_numbers()
        self._check_starts()
        self._check_size()

    @property
    def count(self) -> int:
        """Steps of denoising."""
        return STEPS if self.steps is None else self.steps

    @property
    def starts(self) -> dict[str, int]:
        """Model → its start step."""
        image = self.count // 10 if self.image_start_step is None else self.image_start_step
        return {"image": image, "audio": self.audio_start_step}

    @property
    def columns(self) -> int:
        """Columns of the finished picture."""
        return self.width - CUT * (self.cutoff_latent or self.crop_image)

    @property
    def darkening(self) -> float:
        """Strength of the imprint."""
        return STRENGTH if self.strength is None else self.strength

    def _check_numbers(self) -> None:
        for name, least in (("steps", 1), ("samples", 1), ("seed", 0), ("preview_every", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(_flag(name), got=str(value), expected=f"a whole number, at least {least}")
        for name in ("image_guidance", "audio_guidance"):
            value = getattr(self, name)
            if not 0 <= value <= MOST_GUIDANCE:
                raise ConfigError(
                    _flag(name), got=f"{value:g}", expected=f"0 to {MOST_GUIDANCE:g}; 10 is usual"
                )
        if not 0 <= self.audio_weight <= 1:
            raise ConfigError("--audio-weight", got=f"{self.audio_weight:g}", expected="0 to 1")
        check_strength(self.darkening)
        if self.strength is not None and self.method == "joint":
            raise ConfigError("--strength", got=f"{self.strength:g} with joint", expected="it with imprint")

    def _check_starts(self) -> None:
        if self.method == "imprint":
            if self.image_start_step is not None or self.audio_start_step:
                raise ConfigError(
                    "start steps", got="one with imprint", expected="them with joint: imprint denoises twice"
                )
            return
        for name, start in self.starts.items():
            if start < 0:
                raise ConfigError(f"--{name}-start-step", got=str(start), expected="0 or more")
        if min(self.starts.values()) > 0:
            raise ConfigError(
                "start steps",
                got=" and ".join(f"{start} of {name}" for name, start in self.starts.items()),
                expected="0 of one of them",
                cause="no model would be active at the beginning",
            )

    def _check_size(self) -> None:
        if self.cutoff_latent and self.crop_image:
            raise ConfigError("--crop-image", got="it beside --cutoff-latent", expected="one of the two")
        if self.height != BANDS:
            raise ConfigError(
                "--height",
                got=str(self.height),
                expected=f"{BANDS}, a row for each band of the mel",
                cause="a picture of another height cannot be heard",
            )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
