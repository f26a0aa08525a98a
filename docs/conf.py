"""How the pages are built: MyST pages, docstrings as they are written, every reference checked."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "examples" / "shop")]

import tercet  # noqa: E402 - found through the path that was just set

project = "tercet"
author = "The tercet authors"
project_copyright = "the tercet authors, Apache License 2.0"
release = version = tercet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
# Docstrings hold code: its quotes stay as they are.
smartquotes = False
html_title = "tercet"
html_static_path: list[str] = []
# The theme's own fonts and icons are inside its package: a page asks nobody else for anything.
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}

# References into other projects would need their inventories, which are elsewhere. Ours must all be found.
nitpick_ignore_regex = [(r"py:.*", r"(?!tercet\b).*")]
# What a page shows of a private or a generic name has no place to point to.
nitpick_ignore_regex += [
    (r"py:.*", r"tercet(\.\w+)*\._\w+"),
    # Ports of a room that go by names which others use as well: each reference would have several ends.
    (r"py:.*", r"tercet\.advisor\.port\.(Connection|Database|Progress|Refused|Rows)"),
    (r"py:.*", r"tercet(\.\w+)*\.[A-Z](_co|_contra)?"),
]

# In docstrings a name stands between single backticks, and an indented block is shown as it is.
_NAME = re.compile(r"(`[^`]+`)")
_MARKED = re.compile(r"([*|]|_(?=\W|$))")


def _as_written(lines: list[str]) -> Iterator[str]:
    """A docstring's lines, marked so that they are shown as they were written."""
    indented = False
    for number, line in enumerate(lines):
        if line.startswith("    "):
            # A line after a blank one opens a block; the two colons say that it is meant literally.
            if not indented and (number == 0 or not lines[number - 1].strip()):
                yield from ("::", "")
                indented = True
            yield line
            continue
        if line.strip():
            indented = False
        parts = _NAME.split(line)
        yield "".join(f"`{part}`" if part.startswith("`") else _MARKED.sub(r"\\\1", part) for part in parts)


def _rewrite(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    lines[:] = _as_written(lines)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _rewrite)
