"""`edge-export bench --report`: the contests and their ratios, in one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge_export.bench import Timing
from edge_export.report.markup import Markup, element
from edge_export.report.page import document, number, pairs, table, write_page
from edge_export.report.sections import machine


def write_report(path: Path, rows: Sequence[Timing]) -> None:
    """Write the page of a bench.

    Raises:
        TargetError: it cannot be written.
    """
    write_page(path, bench_page(rows))


def bench_page(rows: Sequence[Timing]) -> Markup:
    """The page: a table, and the machine."""
    lines = [
        (
            row.what,
            number(row.threads, "d"),
            row.ours,
            number(row.ours_ms, ".3f"),
            row.peer or "–",
            number(row.peer_ms if row.peer else None, ".3f"),
            number(row.ratio, ".2f"),
        )
        for row in rows
    ]
    headings = ("what", "threads", "ours", "ms", "peer", "peer's ms", "times faster")
    told = element("p", f"{len(rows)} contests; ratios are peer's time over ours, in one run.")
    sections = [
        ("rows", "Rows", table("Every contest", headings, lines, name="table")),
        ("versions", "Versions", pairs([*machine(), ("processors", str(os.cpu_count()))])),
    ]
    return document("edge-export bench", told, sections)
