"""The declaration of the pipeline `ecog-speech`."""

from edge_runtime.pipelines.declaration import Declaration, Input, Option, Role

DECLARATION = Declaration(
    name="ecog-speech",
    summary="ECoG to speech parameters to speech.",
    inputs=(
        Input(
            "source",
            "Recording .h5, or .npy of processed ECoG (frames, electrodes) at 125 Hz.",
            holds=("array",),
        ),
    ),
    roles=(Role("decoder", ("ecog-decoder",)), Role("synthesizer", ("formant-synthesizer",))),
    options=(
        Option("trial", int, "Trial of the recording, counted from 0; the first if not given"),
        Option(
            "phase",
            str,
            "How samples are made: wave from the parameters, fgla from the spectrogram",
            "both",
            ("both", "wave", "fgla"),
        ),
        Option("bad", str, "Electrodes to silence, counted from 0, as 3,17"),
        Option("coarse", bool, "Decode the first 64 electrodes of a hybrid grid, as 8 x 8", False),
        Option("extended", bool, "Decode the first 100 electrodes, as 10 x 10", False),
        Option("seed", int, "Of the noise in unvoiced sound and background", 0),
    ),
)
