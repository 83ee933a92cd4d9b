"""The declaration of the pipeline `talking-head`."""

from edge_runtime.pipelines.declaration import Declaration, Input, Option, Role

DECLARATION = Declaration(
    name="talking-head",
    summary="Speech to features that move a talking head's mouth.",
    inputs=(Input("source", "Audio file."),),
    roles=(Role("bundle", ("audio-encoder",)),),
    options=(
        Option("fps", float, "Video frames per second, as 25 or 30000/1001", 25.0, frame_rate=True),
        Option("mode", str, "What the renderer was trained with", "ave", ("ave", "hubert", "wenet")),
        Option(
            "legacy_padding",
            bool,
            "hubert, wenet: AVE values padded with zeros; only the shape is right",
            False,
        ),
        Option("windows", str, "Whose count of video frames", "synctalk", ("synctalk", "wav2lip")),
        Option("batch_size", int, "Windows per run of the net", 64),
        Option(
            "length_buckets", bool, "Fill the last batch, so that a new length costs nothing on a GPU", False
        ),
    ),
)
