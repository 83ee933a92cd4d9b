"""The nets of the diffusion models, opened from their bundles, and what each takes and gives.

    TextEncoder      prompts                              → tokens (n, 77), states (n, 77, width)
    PhonemeAdapter   embeddings (n, dim)                  → states (n, 77, width)
    Unet             latents (1, C, h, w), t, states (2)  → noise (2, C, h, w), without and with the condition
    VaeDecoder       latents (1, C, h, w)                 → picture (3, 8 h, 8 w) in 0 … 1

A UNet may come in two halves. `check_fit` refuses bundles of different models before anything runs,
`edge_runtime.pipelines.image_speech.size` sizes that they do not take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet
from edge_runtime.pipelines.image_speech.noise_schedule import NoiseSchedule, schedule_of
from edge_runtime.pipelines.image_speech.tokenizer import LENGTH, ClipTokenizer
from edge_runtime.store.bundle import Bundle, Tensor, open_bundle

Floats = NDArray[np.float32]
Execution = Mapping[str, Any]  # backend, device, threads, precision

FACTOR = 8  # pixels for each latent, in both directions
HALVES = ("sd-unet-first", "sd-unet-second")
_STATES = (None, None, None)  # (batch, tokens, width)
_NOISE = {"noise_pred": (None, None, None, None)}


class TextEncoder:
    """CLIP's text encoder, and the tokenizer beside it."""

    def __init__(self, bundle: AnyBundle, execution: Execution) -> None:
        self.net = BundleNet(
            bundle,
            "clip-text",
            takes={"input_ids": (None, LENGTH)},
            gives={"last_hidden_state": (None, LENGTH, None), "pooler_output": (None, None)},
            **execution,
        )
        self.tokenizer = ClipTokenizer.open(self.net.bundle.path / "tokenizer")
        self.width = _fixed(self.net, "last_hidden_state", 2)
        known = self.net.manifest.config.get("vocab_size")
        if isinstance(known, int) and self.tokenizer.largest >= known:
            raise BundleError(
                f"{self.net.bundle.path}: tokenizer",
                got=f"tokens up to {self.tokenizer.largest}",
                expected=f"at most {known - 1}, as the net has",
                cause="it is the tokenizer of another model",
            )

    def __call__(self, prompts: Sequence[str]) -> tuple[NDArray[np.int32], Floats]:
        """Tokens (n, 77) and states (n, 77, width) of n prompts."""
        tokens = self.tokenizer(prompts)
        rows = [self.net.run_all({"input_ids": row[None]})["last_hidden_state"] for row in tokens]
        return tokens, np.concatenate(rows).astype(np.float32, copy=False)


class PhonemeAdapter:
    """From embeddings of sentences to what the audio model reads in place of text."""

    def __init__(self, bundle: AnyBundle, execution: Execution) -> None:
        self.net = BundleNet(
            bundle,
            "phoneme-adapter",
            takes={"embedding": (None, None)},
            gives={"encoder_hidden_states": (None, None, None)},
            **execution,
        )
        self.dim = _fixed(self.net, "embedding", 1)
        self.width = _fixed(self.net, "encoder_hidden_states", 2)

    def __call__(self, embeddings: Floats) -> Floats:
        """States (n, 77, width) of (n, dim).

        Raises:
            InputError: embeddings of another size.
        """
        if embeddings.shape[-1] != self.dim:
            raise InputError(
                "phoneme embeddings",
                got=f"{embeddings.shape[-1]} numbers each",
                expected=f"{self.dim}, as the adapter takes",
                cause="they are of another phoneme encoder",
            )
        return np.concatenate([self.net(row[None]) for row in embeddings])


class Unet:
    """One of the two models.

    Args:
        bundle: of `sd-unet`, or of its first half.
        execution: backend, device, threads, precision.
        second: the other half; None for a whole net.

    Raises:
        ConfigError: one half alone, or a whole net and a half.
        BundleError: a bundle that is damaged or of another net; halves of two nets.
        BackendError: the backend cannot run here.
    """

    def __init__(self, bundle: AnyBundle, execution: Execution, second: AnyBundle | None = None) -> None:
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        halved = opened.manifest.net == HALVES[0]
        _check_halves(opened, halved, second)
        self.net = BundleNet(
            opened,
            ("sd-unet", HALVES[0]),
            takes={
                "sample": (None, None, None, None),
                "timestep": (None,),
                "encoder_hidden_states": _STATES,
            },
            gives=_shapes(opened.manifest.outputs) if halved else _NOISE,
            **execution,
        )
        self.second = None if second is None else self._open_second(second, execution)
        self.channels = _fixed(self.net, "sample", 1)
        self.width = _fixed(self.net, "encoder_hidden_states", 2)
        self.schedule: NoiseSchedule = schedule_of(str(self.net.bundle.path), self.net.manifest.config)

    def __call__(self, latents: Floats, timestep: int, states: Floats) -> Floats:
        """Noise (2, C, h, w) of latents (1, C, h, w) without and with the condition, states (2, n, width)."""
        admitted = self.net.lengths(0)
        if 2 in admitted.only or (not admitted.only and (admitted.high or 2) >= 2):
            return self._run(latents.repeat(2, axis=0), timestep, states)
        return np.concatenate([self._run(latents, timestep, states[row : row + 1]) for row in (0, 1)])

    @property
    def nets(self) -> dict[str, BundleNet]:
        """Ending of the role's name → net."""
        return {"": self.net} | ({} if self.second is None else {"_second": self.second})

    def _open_second(self, bundle: AnyBundle, execution: Execution) -> BundleNet:
        first = self.net.manifest
        between = _shapes(first.outputs)
        takes = between | {"encoder_hidden_states": _STATES}
        second = BundleNet(bundle, HALVES[1], takes=takes, gives=_NOISE, **execution)
        other = second.manifest
        if (first.source, first.config) != (other.source, other.config):
            raise BundleError(
                str(second.bundle.path),
                got=f"a half of {other.source.file}, {other.source.sha256[:12]}",
                expected=f"the other half of {self.net.bundle.path}: {first.source.file}, "
                f"{first.source.sha256[:12]}, of the same size and LoRA",
                cause="take both of one export --chunks 2",
            )
        return second

    def _run(self, latents: Floats, timestep: int, states: Floats) -> Floats:
        times = np.full(len(latents), timestep, np.float32)
        given = {"sample": latents, "timestep": times, "encoder_hidden_states": states}
        if self.second is None:
            return self.net.run(given)
        return self.second.run(self.net.run_all(given) | {"encoder_hidden_states": states})


def _check_halves(bundle: Bundle, halved: bool, second: AnyBundle | None) -> None:
    if halved == (second is not None):
        return
    got = "its first half alone" if halved else "a whole net beside a second half"
    raise ConfigError(
        f"{bundle.path}: sd-unet",
        got=got,
        expected="the whole, or both halves: ROLE=DIR and ROLE_second=DIR",
        cause="--bundle ROLE=FOLDER takes both halves out of the folder that export --chunks 2 wrote",
    )


def _shapes(tensors: Sequence[Tensor]) -> dict[str, Sequence[int | None]]:
    """Name → shape, None where any length will do."""
    return {
        tensor.name: tuple(axis if isinstance(axis, int) else None for axis in tensor.shape)
        for tensor in tensors
    }


class VaeDecoder:
    """From latents to the picture; both models share it."""

    def __init__(self, bundle: AnyBundle, execution: Execution) -> None:
        self.net = BundleNet(
            bundle,
            "sd-vae-decoder",
            takes={"latent_sample": (None, None, None, None)},
            gives={"sample": (None, 3, None, None)},
            **execution,
        )
        self.channels = _fixed(self.net, "latent_sample", 1)
        config = self.net.manifest.config
        self.scaling = float(config.get("scaling_factor", 0.18215))
        blocks = config.get("block_out_channels")
        if isinstance(blocks, Sequence) and 2 ** (len(blocks) - 1) != FACTOR:
            raise self._other_factor(f"{2 ** (len(blocks) - 1)}")

    def __call__(self, latents: Floats) -> Floats:
        """The picture (3, 8 h, 8 w) in 0 … 1 of latents (1, C, h, w)."""
        scaled = np.asarray(latents / np.float32(self.scaling), np.float32)
        picture = self.net(scaled)[0]
        if picture.shape[1] != FACTOR * latents.shape[2] or picture.shape[2] != FACTOR * latents.shape[3]:
            raise self._other_factor(f"{picture.shape[1] / latents.shape[2]:g}")
        return np.asarray(np.clip(picture / 2 + np.float32(0.5), 0, 1), np.float32)

    def _other_factor(self, got: str) -> BundleError:
        return BundleError(
            f"{self.net.bundle.path}: factor",
            got=f"{got} pixels for each latent",
            expected=f"{FACTOR}, as Stable Diffusion's VAE has",
        )


def check_fit(unets: Mapping[str, Unet], texts: Mapping[str, int], vae: VaeDecoder) -> None:
    """Refuse bundles that are not of one model, or not of a pair.

    Args:
        unets: role → net.
        texts: role of a UNet → width of the states that it is given.
        vae: the decoder.

    Raises:
        BundleError: another width of states, other latents, another noise schedule.
    """
    for role, unet in unets.items():
        place = str(unet.net.bundle.path)
        if role in texts and texts[role] != unet.width:
            raise BundleError(
                f"{place}: cross attention",
                got=f"a width of {unet.width}",
                expected=f"{texts[role]}, as its text encoder or phoneme adapter gives",
                cause="the bundles are of different models",
            )
        if unet.channels != vae.channels:
            raise BundleError(
                f"{place}: latents",
                got=f"{unet.channels} channels",
                expected=f"{vae.channels}, as the VAE has",
                cause="the bundles are of different models",
            )
    schedules = [unet.schedule for unet in unets.values()]
    if any(_training(schedule) != _training(schedules[0]) for schedule in schedules):
        raise BundleError(
            "noise schedules",
            got=" and ".join(str(_training(schedule)) for schedule in schedules),
            expected="the same of both models: they denoise the same latents",
        )


def _training(schedule: NoiseSchedule) -> tuple[int, float, float]:
    """What the latents at a timestep depend on."""
    return schedule.num_train_timesteps, schedule.beta_start, schedule.beta_end


def _fixed(net: BundleNet, name: str, axis: int) -> int:
    """Length of an axis of a tensor, which the bundle must fix."""
    tensors = (*net.manifest.inputs, *net.manifest.outputs)
    size = next(tensor.shape[axis] for tensor in tensors if tensor.name == name)
    if not isinstance(size, int):
        raise BundleError(f"{net.bundle.path}: {name}", got=f"an axis {size}", expected="a fixed length")
    return size
