"""The declaration of the pipeline `mri-speech`."""

from pathlib import Path

from edge_runtime.pipelines.declaration import Declaration, Input, Option, Role

DECLARATION = Declaration(
    name="mri-speech",
    summary="Real-time MRI video of the vocal tract to speech.",
    inputs=(
        Input(
            "source", "Grey video, or frames (T, H, W): .npy, .npz or .pt[:NAME].", holds=("video", "array")
        ),
    ),
    roles=(Role("acoustic", ("mri-acoustic",)), Role("vocoder", ("hifigan", "istft-vocoder"))),
    options=(
        Option(
            "mode",
            str,
            "full runs the whole video at once, window in constant memory",
            "full",
            ("full", "window"),
        ),
        Option("window", int, "Frames in a window; as in training if not given"),
        Option("step", int, "Frames from one window to the next; 1 if not given"),
        Option("mask", str, "Darken lip, tongue, or a polygon (see `edge-export data mask --help`)"),
        Option("alpha", float, "Part of the intensity that the mask leaves, 0 to 1; 0.1 if not given"),
        Option("scaler", Path, "scaler.json of the data, where the bundle holds none"),
        Option(
            "fps",
            float,
            "Frames per second of .npy frames, as 25 or 30000/1001; those of the mel if not given",
            frame_rate=True,
        ),
        Option("length_buckets", bool, "Run few lengths, so that a new one costs nothing on a GPU", False),
        Option("max_frames", int, "Most frames of the video to use"),
    ),
    inside={"features": "acoustic"},
)
