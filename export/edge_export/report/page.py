"""The document around a report's sections, its tables, and its file."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edge_export.report.markup import Markup, element, join
from edge_export.run import check_apart
from edge_runtime.errors import ConfigError
from edge_runtime.store.targets import replace_file
from edge_runtime.version import VERSION

LARGEST = 5_000_000  # bytes of a report


@dataclass(frozen=True)
class Cell:
    """A cell of a table that sorts by something else than its text, or holds markup."""

    shown: object
    value: object = None  # a number to sort by; None: the text

    def markup(self, *, heads: bool) -> Markup:
        """As a cell, or as the heading of its row."""
        number = None if self.value is None or isinstance(self.shown, Markup) else "number"
        scope = {"scope": "row"} if heads else {}
        return element("th" if heads else "td", self.shown, class_=number, data_value=self.value, **scope)


def check_target(path: Path | None, *inputs: Path) -> None:
    """Refuse what a report could not be written to, before the work begins.

    Raises:
        ConfigError: a name that is not of an HTML file.
        TargetError: it would damage an input.
    """
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError("--report", got=str(path), expected="a file named .html, for browsers")
    check_apart(path, *inputs)


def write_page(path: Path, page: Markup) -> None:
    """Write a report, whole or not at all; an older file is replaced, as by ``--json``.

    Raises:
        TargetError: it cannot be written.
    """
    with replace_file(path, overwrite=True) as temporary:
        # file names on Unix may hold bytes that are no UTF-8, as lone surrogates
        temporary.write_bytes(page.encode("utf-8", "replace"))


def document(
    title: str, verdict: Markup, sections: Sequence[tuple[str, str, Markup]], *, runs: bool = False
) -> Markup:
    """The page.

    The policy in its head lets it load nothing but what lies in it, and run no script but ours. Where it
    runs nets, our script may also make workers of files that the reader chose, and compile WebAssembly; a
    worker inherits the policy, and has no network either.

    Args:
        title: of the page.
        verdict: the first paragraph.
        sections: (identifier, heading, content); one without content is left out.
        runs: whether it has a section of `edge_export.report.running`.
    """
    style = Markup(_part("style.css"))
    script = Markup(_part("script.js") + (_part("runner.js") if runs else ""))
    workers = " 'wasm-unsafe-eval'; worker-src blob:" if runs else ""
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'{workers}; base-uri 'none'; form-action 'none'"
    )
    shown = [section for section in sections if section[2]]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=f"edge-export {VERSION}"),
        element("title", title),
        element("style", style),
    )
    links = (element("li", element("a", heading, href=f"#{name}")) for name, heading, _ in shown)
    body = element(
        "body",
        element("a", "Skip to the results", class_="skip", href="#content"),
        element("header", element("h1", title), verdict),
        element("nav", element("ul", *links), aria_label="Sections"),
        element(
            "main",
            *(
                element(
                    "section",
                    element("h2", heading, id=f"{name}-heading"),
                    content,
                    id=name,
                    aria_labelledby=f"{name}-heading",
                )
                for name, heading, content in shown
            ),
            id="content",
            tabindex="-1",
        ),
        element("script", script),
    )
    return join(Markup("<!DOCTYPE html>\n"), element("html", head, body, lang="en"), Markup("\n"))


def verdict(passed: bool, summary: str) -> Markup:
    """The first paragraph: passed or not, and how many."""
    word = "PASS" if passed else "FAIL"
    return element("p", status(word), " ", summary, class_="verdict")


def status(word: str) -> Markup:
    """PASS, FAIL, absent …: a word, and a colour beside."""
    return element("strong", word, class_=f"status {word.lower()}")


def table(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[object]], *, name: str = ""
) -> Markup:
    """A table whose columns sort by their headings; the first cell of a row is its heading.

    Args:
        caption: what it holds.
        headings: of the columns.
        rows: cells: text, `Markup`, or `Cell`.
        name: identifier; a table with one can be filtered.
    """
    if not rows:
        return Markup("")
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    lines = []
    for row in rows:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        lines.append(element("tr", *(cell.markup(heads=not i) for i, cell in enumerate(cells))))
    whole = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *lines),
        id=name or None,
        class_="sortable",
    )
    scrolled = element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)
    return join(_filter(name), scrolled) if name else scrolled


def _filter(name: str) -> Markup:
    """Hidden until the script makes it work."""
    field = f"{name}-filter"
    return element(
        "p",
        element("label", "Show rows with ", for_=field),
        element("input", id=field, type="search", data_filters=name),
        " ",
        element("output", "", for_=field, aria_live="polite"),
        class_="filter",
        hidden=True,
    )


def pairs(facts: Sequence[tuple[str, object]]) -> Markup:
    """Names and values."""
    return element("dl", *(join(element("dt", name), element("dd", value)) for name, value in facts))


def number(value: float | None, form: str = ".2e") -> Cell:
    """A figure that sorts by its value; a dash where there is none."""
    if value is None or math.isnan(value):
        return Cell("–", "")
    return Cell(format(value, form), {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(value, value))


def _part(name: str) -> str:
    return files("edge_export.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
