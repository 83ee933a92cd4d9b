"""Frame rates as they are written on a command line."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.media.frame_rate import check_rate, parse_rate

WHOLE = st.integers(1, 10**9 - 1)


@given(WHOLE, WHOLE, st.sampled_from(["{}/{}", " {} / {} ", "0{}/0{}"]))
def test_a_fraction_is_the_nearest_float(above: int, below: int, form: str) -> None:
    assert parse_rate(form.format(above, below)) == float(Fraction(above, below))


@given(st.floats(0.1, 1000))
def test_a_number_is_itself(rate: float) -> None:
    assert parse_rate(repr(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "/", "30000/", "/1001", "1/0", "30/1/1", "-30/1", "29,97", "3e4/1001", "30fps"]
)
def test_others_are_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"--fps: got '.*', expected frames a second: a number, or a fraction"
    ):
        parse_rate(text)


@pytest.mark.parametrize("rate", [0.0, -25.0, 0.09, 1001.0, float("nan"), float("inf")])
def test_rates_that_no_video_has_are_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"fps: got .*, expected 0.1 to 1000 frames a second"):
        check_rate(rate, "fps")
    assert check_rate(30000 / 1001) == 30000 / 1001
