"""HTML put together so that no text can become markup."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

# Characters that end nothing in HTML, and that a browser may show as something else or not at all.
_CONTROLS = {number: "\N{REPLACEMENT CHARACTER}" for number in range(32) if chr(number) not in "\t\n\r"}


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that is right as it is; whatever is a plain text is escaped when it is put into it."""

    html: str


Inside = Markup | str | None


def tag(name: str, *inside: Inside, **attributes: str | None) -> Markup:
    """An element with what is in it; `class_` stands for class, and an attribute that is None is left out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{told}>{joined(*inside).html}</{name}>")


def joined(*inside: Inside) -> Markup:
    """One after the other; None is nothing."""
    return Markup("".join(one.html if isinstance(one, Markup) else _escaped(one or "") for one in inside))


def _escaped(text: str) -> str:
    return escape(text.translate(_CONTROLS), quote=True)
