"""How noise becomes latents: the noise schedule of the training, and the samplers DDIM and PNDM.

A net that was trained to predict noise sees ``sqrt(a_t) · x + sqrt(1 − a_t) · noise``, where a_t, the share
of the signal, falls from 0.999 at t = 0 to 0.005 at t = 999. A sampler goes from noise to x in N steps of
r = 1000 / N timesteps:

    t_k = (N − 1 − k) · r + offset                                     k = 0 … N − 1
    z'  = sqrt(a' / a) · z + (sqrt(1 − a') − sqrt(a' (1 − a) / a)) e   a at t, a' at t − r, e the net's noise

DDIM with eta 0 (Song and others, 2021) does that with e itself. PNDM (Liu and others, 2022; its linear
multi-step part, ``skip_prk_steps`` in the pipelines of Stable Diffusion) does it with e extrapolated from the
noises of up to four steps, and takes the second t twice, to correct the first step.

Nothing is clipped on the way: latents go beyond ±1, and a sampler that clips them (`clip_sample`, which
diffusers' DDIM does by itself where a configuration does not forbid it) paints another picture. Everything is
float32, as in diffusers, whose numbers the tests compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BundleError, ConfigError

Latents = NDArray[np.float32]  # (1, channels, height, width)
Scheduler = Literal["ddim", "pndm"]

MOST_TIMESTEPS = 100_000


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise of a training, as in scheduler_config.json of a model; raises ConfigError."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    steps_offset: int = 1  # added to every timestep
    set_alpha_to_one: bool = False  # the last step ends without any noise, instead of with that of t = 0
    prediction_type: str = "epsilon"
    timestep_spacing: str = "leading"
    clip_sample: bool = False

    def __post_init__(self) -> None:
        for name, only in (
            ("beta_schedule", "scaled_linear"),
            ("prediction_type", "epsilon"),
            ("timestep_spacing", "leading"),
            ("clip_sample", False),
        ):
            if (got := getattr(self, name)) != only:
                raise ConfigError(
                    name, got=repr(got), expected=f"{only!r}", cause="other kinds of models are not supported"
                )
        if not 1 <= self.num_train_timesteps <= MOST_TIMESTEPS:
            raise ConfigError(
                "num_train_timesteps", got=str(self.num_train_timesteps), expected=f"1 to {MOST_TIMESTEPS}"
            )
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ConfigError(
                "beta_start and beta_end",
                got=f"{self.beta_start:g} and {self.beta_end:g}",
                expected="0 < beta_start ≤ beta_end < 1",
            )
        if not 0 <= self.steps_offset < self.num_train_timesteps:
            raise ConfigError("steps_offset", got=str(self.steps_offset), expected="0 or 1")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule in a scheduler's configuration; other entries mean nothing here.

        Raises:
            ConfigError: betas listed one by one, entries of a wrong type, or a kind that is not supported.
        """
        if config.get("trained_betas") is not None:
            raise ConfigError("trained_betas", got="a list", expected="none: beta_start and beta_end")
        values: dict[str, Any] = {}
        for name, default in cls().__dict__.items():
            value = config.get(name, default)
            if type(default) is float and type(value) is int:
                value = float(value)
            if type(value) is not type(default):
                raise ConfigError(name, got=repr(value), expected=f"{type(default).__name__}")
            values[name] = value
        return cls(**values)

    @cached_property
    def shares(self) -> NDArray[np.float32]:
        """The signal's share a_t of every timestep, (num_train_timesteps,)."""
        ends = self.beta_start**0.5, self.beta_end**0.5
        betas = np.linspace(*ends, self.num_train_timesteps, dtype=np.float32) ** 2
        return np.cumprod(1 - betas, dtype=np.float32)

    def share(self, timestep: int) -> np.float32:
        """a_t; before the first timestep that of the finished picture."""
        if timestep >= 0:
            return np.float32(self.shares[timestep])
        return np.float32(1.0 if self.set_alpha_to_one else self.shares[0])

    def spacing(self, steps: int) -> int:
        """Timesteps from one step to the next.

        Raises:
            ConfigError: fewer than one step, or more than there are timesteps.
        """
        most = self.num_train_timesteps - self.steps_offset
        if not 1 <= steps <= most:
            raise ConfigError("--steps", got=str(steps), expected=f"1 to {most}")
        return self.num_train_timesteps // steps

    def timesteps(self, steps: int) -> list[int]:
        """The timesteps of so many steps, the noisiest first."""
        spacing = self.spacing(steps)
        return [number * spacing + self.steps_offset for number in reversed(range(steps))]

    def move(self, latents: Latents, noise: Latents, timestep: int, to: int) -> Latents:
        """Latents at a timestep, and the noise in them → latents at another timestep."""
        now, then = self.share(timestep), self.share(to)
        one = np.float32(1)
        scale = np.sqrt(then / now)
        return np.asarray(
            scale * latents + (np.sqrt(one - then) - scale * np.sqrt(one - now)) * noise, np.float32
        )

    def clean(self, latents: Latents, noise: Latents, timestep: int) -> Latents:
        """What the latents are without the noise: the picture that is expected at the end."""
        share = self.share(timestep)
        return np.asarray((latents - np.sqrt(np.float32(1) - share) * noise) / np.sqrt(share), np.float32)


class Sampler(Protocol):
    """Steps from noise to a picture; `step` is called once for each of `timesteps`, in their order."""

    @property
    def timesteps(self) -> list[int]:
        """What the net is told in each call."""

    def step(self, number: int, latents: Latents, noise: Latents) -> Latents:
        """The latents of call ``number``, and the net's noise → those of the next call."""


class Ddim:
    """DDIM with eta 0."""

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        self.schedule, self.timesteps = schedule, schedule.timesteps(steps)
        self._spacing = schedule.spacing(steps)

    def step(self, number: int, latents: Latents, noise: Latents) -> Latents:
        """See `Sampler`."""
        timestep = self.timesteps[number]
        return self.schedule.move(latents, noise, timestep, timestep - self._spacing)


class Pndm:
    """The linear multi-step method of PNDM; N steps are N + 1 calls, as the second timestep comes twice."""

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        plain = schedule.timesteps(steps)
        self.schedule, self.timesteps = schedule, [*plain[:2], *plain[1:]] if steps > 1 else plain
        self._spacing = schedule.spacing(steps)
        self._noises: list[Latents] = []  # of the last calls, the newest first
        self._first: Latents = np.empty(0, np.float32)

    def step(self, number: int, latents: Latents, noise: Latents) -> Latents:
        """See `Sampler`."""
        timestep = self.timesteps[number]
        if number == 1:  # the first step once more, with the mean of both noises
            mean = np.asarray((noise + self._noises[0]) / 2, np.float32)
            return self.schedule.move(self._first, mean, self.timesteps[0], timestep)
        if number == 0:
            self._noises, self._first = [], latents
        self._noises = [noise, *self._noises[:3]]
        return self.schedule.move(latents, _extrapolated(self._noises), timestep, timestep - self._spacing)


# weights of the noises of the last calls, the newest first (Adams and Bashforth)
_WEIGHTS = {1: (1, 1), 2: (2, 3, -1), 3: (12, 23, -16, 5), 4: (24, 55, -59, 37, -9)}


def _extrapolated(noises: list[Latents]) -> Latents:
    divisor, *weights = _WEIGHTS[len(noises)]
    weighted = (np.float32(weight) * noise for weight, noise in zip(weights, noises, strict=True))
    return np.asarray(sum(weighted) / np.float32(divisor), np.float32)


def make_sampler(name: str, schedule: NoiseSchedule, steps: int) -> Sampler:
    """The sampler of a name; ConfigError for an unknown one, or an impossible number of steps."""
    if name not in get_args(Scheduler):
        raise ConfigError("--scheduler", got=repr(name), expected=" or ".join(get_args(Scheduler)))
    return Ddim(schedule, steps) if name == "ddim" else Pndm(schedule, steps)


def schedule_of(place: str, config: Mapping[str, Any]) -> NoiseSchedule:
    """The schedule in the configuration of a UNet's bundle; BundleError, with its place, where it is none."""
    try:
        return NoiseSchedule.from_config(config)
    except ConfigError as error:
        raise BundleError(
            f"{place}: {error.what}", got=error.got, expected=error.expected, cause=error.cause
        ) from error
