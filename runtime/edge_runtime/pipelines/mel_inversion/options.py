"""The declaration of the pipeline `mel-inversion`."""

from edge_runtime.pipelines.declaration import Declaration, Input, Option, Role

DECLARATION = Declaration(
    name="mel-inversion",
    summary="Mel spectrogram, or audio, to magnitude and audio.",
    inputs=(
        Input(
            "source",
            "Audio file, or a mel (n_mels, frames): .npy, .npz or .pt[:NAME].",
            holds=("sound", "array"),
        ),
    ),
    roles=(
        Role("bundle", ("mel-inversion",), required=False),
        Role("degli", ("degli",), required=False),
    ),
    options=(
        Option("preset", str, "The front end, where no bundle states it"),
        Option(
            "phase",
            str,
            "How the phase is found; degli with its bundle, else fgla, if not given",
            choices=("gla", "fgla", "agla", "admm", "degli"),
        ),
        Option("iterations", int, "Iterations of the phase step; 64, with degli 10, if not given"),
        Option("updates", int, "Multiplicative updates of the pseudo-inverse", 50),
        Option("momentum", float, "Momentum of fgla and agla; 0.99 if not given"),
        Option("linear", bool, "The .npy is a linear mel, without logarithm", False),
        Option("chunk_frames", int, "Most frames per run of a net", 512),
        Option("length_buckets", bool, "Run few lengths, so that a new one costs nothing on a GPU", False),
    ),
)
