"""The declaration of the pipeline `vocoder`."""

from edge_runtime.pipelines.declaration import Declaration, Input, Option, Role

DECLARATION = Declaration(
    name="vocoder",
    summary="Mel spectrogram, or audio, to speech.",
    inputs=(
        Input(
            "source",
            "Audio file, or a mel (n_mels, frames): .npy, .npz or .pt[:NAME].",
            holds=("sound", "array"),
        ),
    ),
    roles=(Role("bundle", ("hifigan", "istft-vocoder", "bigvgan")),),
    options=(
        Option("chunk_frames", int, "Most frames per run of the net", 512),
        Option("length_buckets", bool, "Run few lengths, so that a new one costs nothing on a GPU", False),
        Option(
            "stream", int, "Frames per chunk of a stream, as a live source sends them; its times are reported"
        ),
    ),
)
