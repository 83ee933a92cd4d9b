"""The libraries that diffusion models come from, or the line that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from edge_runtime.errors import BackendError


def library(name: str) -> Any:
    """A module of diffusers, transformers or peft, by name.

    Raises:
        BackendError: it is missing, or too old for its own parts.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendError(
            "models of image-speech",
            got=f"no module named {error.name or name}",
            expected="diffusers, transformers and peft",
            cause="pip install 'edge-export[image-speech]'",
        ) from error
