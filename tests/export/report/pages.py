"""A page as parsers of browsers see it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

EMPTY = {"meta", "input", "img"}


class Page(HTMLParser):
    """Elements, tables and texts; an end without its start is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.texts: dict[str, str] = {}  # all text within elements of this name
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag] = self.texts.get(tag, "") + data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def check(self) -> None:
        """What holds of every report: nothing from elsewhere, one script, names for whoever does not see."""
        for _, attributes in self.elements:
            for name in ("src", "href", "action", "data", "srcset", "poster"):
                if (place := attributes.get(name)) is not None:
                    assert re.match(r"#|data:(image/png|audio/wav);base64,", place), place
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not [tag for tag, _ in self.elements if tag in ("link", "iframe", "base", "object", "embed")]
        assert len(self.all("script")) == 1
        assert not re.search(r"url\(|@import", self.texts["style"])
        identifiers = [a["id"] for _, a in self.elements if "id" in a]
        assert len(identifiers) == len(set(identifiers))
        targets = {a["href"].removeprefix("#") for a in self.all("a") if a["href"]}
        assert targets <= set(identifiers)
        assert all(a.get("alt") for a in self.all("img"))
        assert all(a.get("aria-label") for tag in ("audio", "svg", "textarea") for a in self.all(tag))
        assert all(a.get("scope") in ("col", "row") for a in self.all("th"))
        assert len(self.all("caption")) == len(self.tables)
        (html,) = self.all("html")
        assert html["lang"] == "en"
