"""Training over Lightning: what every recipe shares."""

import os

from edge_runtime.backends.telemetry import ONNXRUNTIME

# Lightning imports torchmetrics, and that onnxruntime where it is installed, which would report to its maker
os.environ.setdefault(ONNXRUNTIME, "1")
