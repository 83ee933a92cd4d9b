"""The declaration of the pipeline `image-speech`."""

from pathlib import Path

from edge_runtime.pipelines.declaration import Declaration, Input, Option, Role


def _halves(role: str) -> tuple[tuple[str, str], ...]:
    """Folders that `edge-export export sd-unet --chunks 2` writes."""
    return (("first", role), ("second", f"{role}_second"))


DECLARATION = Declaration(
    name="image-speech",
    summary="Two prompts to one picture that is also speech.",
    inputs=(
        Input(
            "image_prompt", "What is seen; repeat it, or @FILE with one a line.", str, flag=True, many=True
        ),
        Input(
            "audio_prompt",
            "What is heard; repeat it, or @FILE. Every pair of the two is made.",
            str,
            flag=True,
            many=True,
            required=False,
        ),
        Input(
            "phoneme_npz",
            "Embeddings of sentences, which are heard in place of prompts (`edge-export data image-speech`).",
            flag=True,
            required=False,
        ),
    ),
    roles=(
        Role("image_unet", ("sd-unet", "sd-unet-first"), halves=_halves("image_unet")),
        Role("image_unet_second", ("sd-unet-second",), required=False),
        Role("audio_unet", ("sd-unet", "sd-unet-first"), halves=_halves("audio_unet")),
        Role("audio_unet_second", ("sd-unet-second",), required=False),
        Role("vae_decoder", ("sd-vae-decoder",)),
        Role("image_text", ("clip-text",), required=False),
        Role("audio_text", ("clip-text",), required=False),
        Role("text", ("clip-text",), required=False),
        Role("phoneme_adapter", ("phoneme-adapter",), required=False),
        Role("vocoder", ("hifigan", "istft-vocoder"), required=False),
    ),
    options=(
        Option(
            "method",
            str,
            "joint denoises one picture with both models, imprint presses one picture into another",
            "joint",
            ("joint", "imprint"),
        ),
        Option("scheduler", str, "Sampler", "ddim", ("ddim", "pndm")),
        Option("steps", int, "Of denoising; 100, for a reference pack 3, if not given"),
        Option("image_guidance", float, "How strongly the picture follows its prompt", 10.0),
        Option("audio_guidance", float, "How strongly the sound follows its prompt", 10.0),
        Option("image_start_step", int, "Steps before the image model joins; a tenth of all if not given"),
        Option("audio_start_step", int, "Steps before the audio model joins", 0),
        Option("audio_weight", float, "Of the audio model's noise, 0 to 1", 0.5),
        Option("strength", float, "With imprint, how dark its black is, 0 to 1; 0.5 if not given"),
        Option("height", int, "Of the picture, the bands of the sound", 256, unit="pixels"),
        Option("width", int, "Of the picture, 10 ms of sound each", 1024, unit="pixels"),
        Option("cutoff_latent", bool, "Drop the last 4 columns of latents, before decoding", False),
        Option("crop_image", bool, "Drop the last 32 columns of the picture, after decoding", False),
        Option("colormap", str, "Write the spectrogram in colours too", choices=("viridis", "jet", "grey")),
        Option("preview_every", int, "Write the picture that is expected, every so many steps"),
        Option("seed", int, "Of the noise at the start", 0),
        Option("samples", int, "Pictures of each pair, of seed, seed + 1 …", 1),
        Option("rank", bool, "Rank the samples of each pair with CLIP and CLAP", False),
        Option("clip", Path, "Folder of a CLIP model, in the layout of transformers"),
        Option("clap", Path, "Folder of a CLAP model, in the layout of transformers"),
        Option("prompt_index", str, "Rows of the npz, from 0, such as 0,3,7; all if not given"),
        Option("iterations", int, "Of Griffin-Lim, where there is no vocoder; 64 if not given"),
    ),
    helpers=("scorer",),
    made_by="edge-export export image-speech --sd MODEL --auffusion MODEL --out FOLDER",
)
