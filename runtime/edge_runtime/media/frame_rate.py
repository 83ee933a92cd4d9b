"""Frame rates as they are written: 25, 29.97, and the fractions of television, 30000/1001."""

from __future__ import annotations

import re

from edge_runtime.errors import ConfigError

# frames per second; a rate outside in a file's header is taken for damage, or unknown
RATES = (0.1, 1000.0)


def parse_rate(text: str, what: str = "--fps") -> float:
    """Frames per second from a command line, a fraction to the nearest float64.

    Args:
        text: a number, or two whole numbers with a slash between them.
        what: the option, for errors.

    Raises:
        ConfigError: neither; which rates are possible is for whoever takes one to say.

    >>> parse_rate("25"), parse_rate("30000/1001")
    (25.0, 29.97002997002997)
    """
    fraction = re.fullmatch(r"\s*0*(\d{1,9})\s*/\s*0*([1-9]\d{0,8})\s*", text, re.ASCII)
    if fraction:
        return int(fraction[1]) / int(fraction[2])
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            what, got=repr(text), expected="frames a second: a number, or a fraction as 30000/1001"
        ) from error


def is_rate(fps: float) -> bool:
    """Whether a video may have this rate, within `RATES`."""
    return RATES[0] <= fps <= RATES[1]


def check_rate(fps: float, what: str = "--fps") -> float:
    """The rate itself; ConfigError for one that no video has."""
    if not is_rate(fps):
        raise ConfigError(what, got=f"{fps}", expected=f"{RATES[0]:g} to {RATES[1]:g} frames a second")
    return fps
