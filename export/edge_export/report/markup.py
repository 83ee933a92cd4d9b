"""HTML elements as strings. Whatever is not markup is escaped: no name from a file becomes a tag."""

from __future__ import annotations

import base64
from html import escape

_EMPTY = frozenset({"meta", "input", "img"})  # elements without an end


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An element with its children, escaped unless they are `Markup`.

    Attributes that are None are left out, True ones stand without a value; a trailing underscore is dropped
    and others become hyphens.

    >>> element("td", "a < b", class_="number", data_value=3)
    '<td class="number" data-value="3">a &lt; b</td>'
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if tag in _EMPTY else f"{start}{join(*children)}</{tag}>")


def join(*children: object) -> Markup:
    """Children one after the other, escaped unless they are `Markup`."""
    return Markup("".join(child if isinstance(child, Markup) else escape(str(child)) for child in children))


def data_uri(kind: str, content: bytes) -> str:
    """A file inside of the page: ``data:image/png;base64,…``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
