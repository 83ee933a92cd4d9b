"""What `edge-export data mri` declares: the entries of `edge_training.mri_speech.preparation.Preparation`."""

from edge_runtime.pipelines.declaration import Option

PREPARATION = (
    Option("layout", str, "Where frames lie; legacy as mri2speech has it", "padded", ("padded", "legacy")),
    Option("size", int, "Pixels of a side", 256),
    Option("frame_scaling", str, "Of grey values", "full-scale", ("full-scale", "min-max")),
    Option("sample_rate", int, "Of the recordings", 11413, unit="Hz", short="sr"),
    Option("n_mels", int, "Mel bands", 64),
    Option("n_fft", int, "Transform", 2048, unit="samples"),
    Option("win_length", int, "Window", 2048, unit="samples"),
    Option("hop_length", int, "Between mel frames", 420, unit="samples"),
    Option("pre_emphasis", float, "Pre-emphasis", 0.97, short="preemph"),
    Option("ref_frames", int, "Pictures of a training window", 4),
    Option("valid_ratio", float, "Part of the clips kept for validation", 0.1),
    Option("seed", int, "Of the split", 42),
    Option(
        "fps",
        float,
        "Frames per second of .npy frames, as 25 or 30000/1001; those of the mel if not given",
        frame_rate=True,
    ),
)
