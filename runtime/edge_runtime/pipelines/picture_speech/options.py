"""The declaration of the pipeline `picture-speech`."""

from pathlib import Path

from edge_runtime.pipelines.declaration import Declaration, Input, Option, Role

DECLARATION = Declaration(
    name="picture-speech",
    summary="A picture that is a spectrogram, to speech.",
    inputs=(
        Input(
            "source",
            "Picture .png, .npy, .npz or .pt, 256 rows, 10 ms a column; or an audio file.",
            holds=("picture", "array", "sound"),
        ),
    ),
    roles=(Role("vocoder", ("hifigan", "istft-vocoder"), required=False),),
    options=(
        Option(
            "orientation",
            str,
            "What row 0 of the picture is, the highest band or the lowest; recognised if not given",
            choices=("high-first", "low-first"),
        ),
        Option("iterations", int, "Of Griffin-Lim, where there is no vocoder; 64 if not given"),
        Option("imprint", Path, "Picture .png or .npy, of any size, to press into the spectrogram"),
        Option("strength", float, "Of that, 0 to 1", 0.5),
    ),
)
