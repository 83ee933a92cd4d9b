"""Two prompts → one picture that is also the spectrogram of speech.

    prompts        → tokenizer, text encoders    states (2, 77, width) of each: without and with the prompt
    (embedding     → phoneme adapter             in place of the audio prompt)
    seed           → noise (1, 4, 32, 128)       numpy.random.default_rng(seed).standard_normal, as float32
    noise, states  → denoising                   two UNets on the same latents: latents (1, 4, 32, 128)
    latents        → VAE, once for both          picture (3, 256, 1024) in 0 … 1
    its grey mean  → picture_to_mel → sound      mel (256, 1024), 163 840 samples at 16 kHz

Nothing forces the picture to be grey; prompts such as «…, grayscale» do. With the method "imprint", the
baseline, each model denoises the same noise by itself, and the picture is pressed into the spectrogram.

numpy and a backend are enough.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.media.pictures import ColourMap
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet
from edge_runtime.pipelines.image_speech.denoising import Call, Denoiser, denoise
from edge_runtime.pipelines.image_speech.imprint import imprint
from edge_runtime.pipelines.image_speech.nets import (
    FACTOR,
    Floats,
    PhonemeAdapter,
    TextEncoder,
    Unet,
    VaeDecoder,
    check_fit,
)
from edge_runtime.pipelines.image_speech.noise_schedule import Sampler, Scheduler, make_sampler
from edge_runtime.pipelines.image_speech.picture import picture_to_mel
from edge_runtime.pipelines.image_speech.plan import CUT, Method, Plan
from edge_runtime.pipelines.image_speech.size import check_size
from edge_runtime.pipelines.image_speech.sound import Speaker

Score = Callable[[NDArray[np.uint8], Floats, str, str], Mapping[str, float]]
"""(picture (H, W, 3), samples at 16 kHz, image prompt, audio prompt) → name → similarity."""
Scorer = Callable[[Any, Any], Score]  # (folder of CLIP, folder of CLAP) → what scores


@dataclass(frozen=True, eq=False)
class Condition:
    """What a model is told."""

    states: Floats  # (2, n, width): without and with
    tokens: NDArray[np.int32] | None = None  # (2, 77), where it is a text


@dataclass(frozen=True, eq=False)
class ImageSpeechResult:
    """Every stage of one picture."""

    image: Condition
    audio: Condition
    start: Floats  # (1, C, h, w), noise
    latents: Mapping[str, Floats]  # "joint", or "image" and "audio": (1, C, h, w) each
    picture: Floats  # (3, H, W) in 0 … 1: what is seen
    spectrogram: Floats  # (H, W) in 0 … 1, row 0 the highest band: what is heard
    mel: Floats  # (H, W), natural logarithm, row 0 the lowest band
    samples: Floats  # (160 W,)


class ImageSpeech:
    """The pipeline.

    Args:
        image_unet, audio_unet: bundles of `sd-unet`, folders or open bundles; or of its first half.
        image_unet_second, audio_unet_second: of the second half, where it comes in two.
        vae_decoder: bundle of `sd-vae-decoder`; both models share it.
        image_text, audio_text: bundles of `clip-text` of each model.
        text: one that serves whichever of the two is not given.
        phoneme_adapter: bundle of `phoneme-adapter`, for embeddings in place of audio prompts.
        vocoder: bundle of `hifigan` or `istft-vocoder` for the mel `auffusion`; Griffin-Lim if None.
        method: "joint" or "imprint".
        scheduler: "ddim" or "pndm".
        steps: of denoising; 100 if None.
        image_guidance, audio_guidance: of classifier-free guidance; 1 for the prompt's prediction alone.
        image_start_step, audio_start_step: steps before a model is active, one of them 0; a tenth of all
            steps for the image model if None. A model that starts at the last step or later never is.
        audio_weight: of the audio model's noise, 0 … 1.
        strength: of the imprint, 0 … 1; 0.5 if None.
        height, width: of the picture, pixels; the height is the number of bands.
        cutoff_latent, crop_image: drop the last 32 columns, before or after the VAE.
        colormap: write the spectrogram in these colours too.
        preview_every: steps from one preview to the next.
        seed: of the noise of the first sample; the others have the next seeds.
        samples: pictures of each pair of prompts.
        rank: score and rank them, with the models in the folders ``clip`` and ``clap``.
        prompt_index: rows of the embeddings, numbers from 0 with commas between them.
        iterations: of Griffin-Lim; 64 if None.
        backend, device, threads, precision: what executes the nets, see `edge_runtime.backends`.
        scorer: opens what scores, from both folders; `edge_export` supplies it.
        progress: told where the work stands.

    Raises:
        ConfigError: impossible options, a size that the nets do not take, a bundle too few.
        BundleError: a bundle that is damaged or of another net; bundles that do not fit together.
        BackendError: the backend cannot run here.
    """

    def __init__(
        self,
        image_unet: AnyBundle,
        audio_unet: AnyBundle,
        vae_decoder: AnyBundle,
        image_text: AnyBundle | None = None,
        audio_text: AnyBundle | None = None,
        text: AnyBundle | None = None,
        phoneme_adapter: AnyBundle | None = None,
        vocoder: AnyBundle | None = None,
        image_unet_second: AnyBundle | None = None,
        audio_unet_second: AnyBundle | None = None,
        *,
        method: Method = "joint",
        scheduler: Scheduler = "ddim",
        steps: int | None = None,
        image_guidance: float = 10.0,
        audio_guidance: float = 10.0,
        image_start_step: int | None = None,
        audio_start_step: int = 0,
        audio_weight: float = 0.5,
        strength: float | None = None,
        height: int = 256,
        width: int = 1024,
        cutoff_latent: bool = False,
        crop_image: bool = False,
        colormap: ColourMap | None = None,
        preview_every: int | None = None,
        seed: int = 0,
        samples: int = 1,
        rank: bool = False,
        clip: str | os.PathLike[str] | None = None,
        clap: str | os.PathLike[str] | None = None,
        prompt_index: str | None = None,
        iterations: int | None = None,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        scorer: Scorer | None = None,
        progress: Callable[[str], object] = lambda _line: None,
    ) -> None:
        self.plan = Plan(
            method=method, scheduler=scheduler, steps=steps, seed=seed, samples=samples, strength=strength,
            image_guidance=image_guidance, audio_guidance=audio_guidance, audio_weight=audio_weight,
            image_start_step=image_start_step, audio_start_step=audio_start_step, colormap=colormap,
            height=height, width=width, cutoff_latent=cutoff_latent, crop_image=crop_image,
            preview_every=preview_every,
        )  # fmt: skip
        if vocoder is not None and iterations is not None:
            raise ConfigError(
                "--iterations", got=f"{iterations} beside a vocoder", expected="it for Griffin-Lim alone"
            )
        self.rows, self.progress = parse_rows(prompt_index), progress
        execution: dict[str, Any] = {
            "backend": backend, "device": device, "threads": threads, "precision": precision,
        }  # fmt: skip
        self.unets = {
            "image": Unet(image_unet, execution, image_unet_second),
            "audio": Unet(audio_unet, execution, audio_unet_second),
        }
        self.vae = VaeDecoder(vae_decoder, execution)
        self.texts = _open_texts(image_text, audio_text, text, phoneme_adapter, execution, progress)
        self.adapter = None if phoneme_adapter is None else PhonemeAdapter(phoneme_adapter, execution)
        self._check_nets()
        self.speaker = Speaker(vocoder, execution, iterations=iterations)
        self.score, self.listens = _open_score(rank, clip, clap, scorer), clap is not None
        self._told: dict[tuple[str, str], Condition] = {}

    @property
    def sample_rate(self) -> int:
        """Sample rate of the sound, Hz."""
        return self.speaker.sample_rate

    @property
    def executed_by(self) -> dict[str, str]:
        """Role → what computes it, in words."""
        return {role: net.detail for role, net in self.nets.items()} | {"sound": self.speaker.detail}

    @property
    def nets(self) -> dict[str, BundleNet]:
        """Role → net, of all but the vocoder."""
        nets = {f"{name}_unet{end}": net for name, u in self.unets.items() for end, net in u.nets.items()}
        nets |= {f"{name}_text": text.net for name, text in self.texts.items()}
        nets |= {"phoneme_adapter": self.adapter.net} if self.adapter else {}
        return nets | {"vae_decoder": self.vae.net}

    @property
    def calls(self) -> int:
        """Calls of samplers for one picture."""
        return len(self._sampler().timesteps) * (1 if self.plan.method == "joint" else 2)

    def with_steps(self, steps: int) -> Self:
        """The same pipeline with another number of steps."""
        other = copy.copy(self)
        other.plan = replace(self.plan, steps=steps)
        return other

    def starting_noise(self, seed: int) -> Floats:
        """The noise (1, C, h, w) of a seed: the same numbers everywhere."""
        shape = 1, self.vae.channels, self.plan.height // FACTOR, self.plan.width // FACTOR
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    def condition(self, model: str, heard: str | Floats) -> Condition:
        """What a model, "image" or "audio", is told: a prompt, or the embedding (dim,) of a sentence.

        Raises:
            ConfigError: a prompt without the model's text encoder, or an embedding without adapter.
            InputError: an embedding of another size.
        """
        if not isinstance(heard, str):
            if self.adapter is None:
                raise _missing("phoneme_adapter", "embeddings of phonemes")
            pair = np.stack([np.zeros_like(heard), heard]).astype(np.float32)
            return Condition(self.adapter(pair))
        if model not in self.texts:
            raise _missing(f"{model}_text", f"--{model}-prompt")
        if (model, heard) not in self._told:
            tokens, states = self.texts[model](["", heard])
            self._told[model, heard] = Condition(states, tokens)
        return self._told[model, heard]

    def process(
        self,
        image_prompt: str,
        audio_prompt: str | Floats,
        *,
        seed: int | None = None,
        tell: Callable[[Call, str], object] = lambda _call, _name: None,
    ) -> ImageSpeechResult:
        """One picture that sounds.

        Args:
            image_prompt: what is seen.
            audio_prompt: what is heard; or the embedding (dim,) of a sentence.
            seed: of the noise; that of the pipeline if None.
            tell: is told of every call of a sampler, and of which latents it is: "joint", "image" or "audio".

        Raises:
            ConfigError, InputError: as `condition`.
        """
        told = {
            "image": self.condition("image", image_prompt),
            "audio": self.condition("audio", audio_prompt),
        }
        start = self.starting_noise(self.plan.seed if seed is None else seed)
        models = {name: self._denoiser(name, each.states) for name, each in told.items()}
        parts = {"joint": models} if self.plan.method == "joint" else {n: {n: m} for n, m in models.items()}
        latents = {
            name: denoise(start, self._sampler(), part, lambda call, name=name: tell(call, name))  # type: ignore[misc]
            for name, part in parts.items()
        }
        pictures = {name: self.decode(each) for name, each in latents.items()}
        picture = next(iter(pictures.values()))
        spectrogram = grey_of(pictures.get("audio", picture))
        if self.plan.method == "imprint":
            spectrogram = imprint(spectrogram, grey_of(picture), self.plan.darkening)
        mel = picture_to_mel(spectrogram)
        return ImageSpeechResult(
            told["image"], told["audio"], start, latents, picture, spectrogram, mel, self.speaker(mel)
        )

    def decode(self, latents: Floats) -> Floats:
        """The picture (3, H, W) in 0 … 1 of latents (1, C, h, w), cut as the plan says."""
        plan = self.plan
        picture = self.vae(latents[..., : -CUT // FACTOR] if plan.cutoff_latent else latents)
        return np.ascontiguousarray(picture[..., :-CUT]) if plan.crop_image else picture

    def expected(self, call: Call) -> Floats:
        """The picture (3, H, W) that is expected at the end, as known in a call."""
        return self.decode(self.unets["image"].schedule.clean(call.latents, call.noise, call.timestep))

    def _sampler(self) -> Sampler:
        return make_sampler(self.plan.scheduler, self.unets["image"].schedule, self.plan.count)

    def _denoiser(self, name: str, states: Floats) -> Denoiser:
        plan = self.plan
        guidance = plan.image_guidance if name == "image" else plan.audio_guidance
        weight = 1 - plan.audio_weight if name == "image" else plan.audio_weight
        first = plan.starts[name] if plan.method == "joint" else 0
        never = len(self._sampler().timesteps)
        return Denoiser(self.unets[name], states, guidance, weight, never if first >= plan.count else first)

    def _check_nets(self) -> None:
        widths = {name: text.width for name, text in self.texts.items()}
        check_fit(self.unets, widths, self.vae)
        if self.adapter is not None:
            check_fit({"audio": self.unets["audio"]}, {"audio": self.adapter.width}, self.vae)
        check_size(list(self.unets.values()), self.vae, self.plan)
        self._sampler()  # refuses impossible steps


def grey_of(picture: Floats) -> Floats:
    """The mean of the channels, (3, H, W) → (H, W)."""
    return np.asarray(picture.mean(axis=0, dtype=np.float64), np.float32)


def parse_rows(text: str | None) -> tuple[int, ...] | None:
    """Numbers of rows; ConfigError where a text holds something else."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError("--prompt-index", got=repr(text), expected="numbers of rows from 0, such as 0,3,7")
    return tuple(int(part) for part in parts)


def _open_texts(
    image: AnyBundle | None,
    audio: AnyBundle | None,
    both: AnyBundle | None,
    adapter: AnyBundle | None,
    execution: Mapping[str, Any],
    progress: Callable[[str], object],
) -> dict[str, TextEncoder]:
    """Model → its text encoder; the audio model needs none where there is an adapter."""
    given = {"image": image, "audio": audio}
    missing = [name for name, bundle in given.items() if bundle is None]
    if both is None and (needed := [n for n in missing if n == "image" or adapter is None]):
        raise _missing(f"{needed[0]}_text", f"--{needed[0]}-prompt")
    if both is not None and not missing:
        raise ConfigError("--bundle text", got="it beside image_text and audio_text", expected="two at most")
    opened = {name: TextEncoder(bundle, execution) for name, bundle in given.items() if bundle is not None}
    if both is not None:
        shared = TextEncoder(both, execution)
        opened |= dict.fromkeys(missing, shared)
        progress(f"one text encoder serves {' and '.join(missing)}: {shared.net.bundle.path}")
    return opened


def _open_score(rank: bool, clip: Any, clap: Any, scorer: Scorer | None) -> Score | None:
    if not rank:
        if clip is not None or clap is not None:
            raise ConfigError("--clip and --clap", got="one without --rank", expected="--rank beside them")
        return None
    if clip is None and clap is None:
        raise ConfigError("--rank", got="no model to rank with", expected="--clip DIR, --clap DIR, or both")
    if scorer is None:
        raise BackendError(
            "ranking", got="the runtime alone", expected="edge_export with transformers, or a scorer of yours"
        )
    return scorer(clip, clap)


def _missing(role: str, what: str) -> ConfigError:
    serves = ", text=DIR one that serves both models" if role.endswith("_text") else ""
    return ConfigError(
        "bundles of image-speech", got=f"none for {role}", expected=f"it for {what}",
        cause=f"--bundle {role}=DIR names it{serves}",
    )  # fmt: skip
