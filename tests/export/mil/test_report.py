"""What a run report says."""

from __future__ import annotations

import math

from edge_export.mil.report import Event, RunReport


def test_the_peak_is_the_largest_magnitude() -> None:
    report = RunReport("none", largest={"a": 1.0, "b": 70000.0, "c": 3.0})
    assert report.peak == ("b", 70000.0)
    assert RunReport("none").peak == ("", 0.0)


def test_beyond_fp16_names_what_float16_cannot_hold() -> None:
    report = RunReport("none", largest={"a": 65504.0, "b": 65505.0, "c": math.nan, "d": math.inf})
    assert list(report.beyond_fp16()) == ["b", "c", "d"]


def test_an_event_reads_as_a_clause() -> None:
    assert str(Event("mul", "y", 70000.0)) == "mul y reached 70000"
