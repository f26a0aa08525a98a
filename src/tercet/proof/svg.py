"""The ladder as a picture for a talk: one bar a rung, on a logarithmic scale, in a single SVG file.

It needs nothing from outside: no script, no font but the viewer's own sans-serif, a light ground of its own.
Since that font is not known, every text is measured by the widest common one and kept in a column of its own,
so that nothing overlaps.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# All in the picture's own units, which a viewer scales as it likes.
_WIDTH = 1280
_MARGIN = 48
_NAME_X, _NAME_WIDTH = 104, 300
_PLOT_LEFT, _PLOT_RIGHT = 428, 900
_TIME_X, _TIME_WIDTH = 922, 122
_RATIO_RIGHT = _WIDTH - _MARGIN
_RATIO_ROOM = _RATIO_RIGHT - _TIME_X - _TIME_WIDTH
_ROW = 96
_BAR = 34
_BAR_MIN = 5
_LINE = 1.32

_GROUND, _INK, _QUIET, _RULE = "#fcfcfa", "#18202b", "#4d5868", "#dfe3e8"
_SAME, _NOT_SAME = "#1c6e4a", "#a8231c"
# From slow to fast; between them colours are mixed.
_COLOURS = ((178, 58, 46), (205, 120, 40), (120, 130, 60), (36, 128, 116), (28, 92, 148))

# Widths in parts of the font's size, after DejaVu Sans and Verdana, the widest in general use.
_NARROW, _NARROW_WIDTH = frozenset("iljtfrI .,:;'|!()[]{}\u202f·-"), 0.45
_BROAD, _BROAD_WIDTH = frozenset("mwMW@%"), 1.0
_CAPITAL_WIDTH, _OTHER_WIDTH, _FULL_WIDTH = 0.76, 0.65, 1.05
_BOLD = 1.1

# XML 1.0 has no way to say these characters, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Decades on the axis stand at least so far apart to have all a label.
_LABEL_ROOM = 64


@dataclass(frozen=True, slots=True)
class Bar:
    """One rung as it is drawn; the times are seconds."""

    number: str
    name: str
    median: float
    p95: float
    ratio: str
    stale: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a picture says; `same` chooses the colour of `claim`."""

    title: str
    subtitle: str
    bars: tuple[Bar, ...]
    claim: str
    same: bool
    notes: tuple[str, ...]
    ratio_caption: str


@dataclass(frozen=True, slots=True)
class _Axis:
    """Whole decades that hold every time."""

    low: int
    high: int

    @classmethod
    def around(cls, bars: Sequence[Bar]) -> _Axis:
        low = math.floor(math.log10(min(bar.median for bar in bars)))
        high = math.ceil(math.log10(max(max(bar.median, bar.p95) for bar in bars)))
        return cls(low, max(high, low + 1))

    def x(self, seconds: float) -> float:
        share = (math.log10(seconds) - self.low) / (self.high - self.low)
        return _PLOT_LEFT + max(0.0, min(1.0, share)) * (_PLOT_RIGHT - _PLOT_LEFT)


def draw(picture: Picture) -> str:
    """The SVG document of this picture."""
    body: list[str] = []
    y = _MARGIN - 8.0
    for size, colour, text, bold in ((32, _INK, picture.title, True), (17, _QUIET, picture.subtitle, False)):
        for line in _wrapped(text, _WIDTH - 2 * _MARGIN, size, bold=bold, lines=2):
            y += size * _LINE
            body.append(_text(_MARGIN, y, line, size, fill=colour, bold=bold))
        y += 6
    captions = y + 36
    body.append(_text(_TIME_X, captions, "median", 13, fill=_QUIET))
    body.append(_text(_RATIO_RIGHT, captions, picture.ratio_caption, 13, fill=_QUIET, anchor="end", room=_RATIO_ROOM))
    top = captions + 8
    bottom = top + _ROW * len(picture.bars)
    axis = _Axis.around(picture.bars)
    body.extend(_grid(axis, top, bottom))
    for at, bar in enumerate(picture.bars):
        body.extend(_bar(bar, axis, top + at * _ROW, _colour(at, len(picture.bars))))
    foot, height = _foot(picture, bottom + 60)
    body.extend(foot)
    return _document(picture, body, math.ceil(height))


def _grid(axis: _Axis, top: float, bottom: float) -> Iterator[str]:
    """The decades: a thin line each, and their names below where there is room."""
    decades = range(axis.low, axis.high + 1)
    step = math.ceil(_LABEL_ROOM * (axis.high - axis.low) / (_PLOT_RIGHT - _PLOT_LEFT))
    for at, decade in enumerate(decades):
        x = axis.x(10.0**decade)
        yield f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{_RULE}" stroke-width="1.5"/>'
        if at % step == 0:
            name = f"{10**decade} s" if decade >= 0 else duration(10.0**decade)
            yield _text(x, bottom + 22, name, 13, fill=_QUIET, anchor="middle")


def _bar(bar: Bar, axis: _Axis, top: float, colour: str) -> Iterator[str]:
    middle = top + _ROW / 2
    yield f'<circle cx="{_MARGIN + 20}" cy="{middle:.1f}" r="20" fill="{colour}"/>'
    yield _text(_MARGIN + 20, middle + 7, bar.number, 20, fill="#ffffff", bold=True, anchor="middle")
    name = _wrapped(bar.name, _NAME_WIDTH, 20, bold=True, lines=1)
    stale = _wrapped(f"stale: {bar.stale}", _NAME_WIDTH, 14, lines=3) if bar.stale else []
    y = middle + 7 - 9.5 * len(stale)
    yield from (_text(_NAME_X, y, line, 20, bold=True) for line in name)
    for line in stale:
        y += 14 * _LINE + 1
        yield _text(_NAME_X, y, line, 14, fill=_QUIET)
    end = max(axis.x(bar.median), _PLOT_LEFT + _BAR_MIN)
    yield (
        f'<rect x="{_PLOT_LEFT}" y="{middle - _BAR / 2:.1f}" width="{end - _PLOT_LEFT:.1f}" '
        f'height="{_BAR}" rx="3" fill="{colour}"/>'
    )
    far = axis.x(bar.p95)
    if far > end:
        tick = f"M{end:.1f} {middle:.1f}H{far:.1f}M{far:.1f} {middle - 8:.1f}v16"
        yield f'<path d="{tick}" stroke="{colour}" stroke-width="2.5" fill="none"/>'
    yield _text(_TIME_X, middle + 2, duration(bar.median), 24, bold=True, room=_TIME_WIDTH)
    yield _text(_TIME_X, middle + 23, f"p95 {duration(bar.p95)}", 14, fill=_QUIET, room=_TIME_WIDTH)
    yield _text(_RATIO_RIGHT, middle + 10, bar.ratio, 28, bold=True, anchor="end", room=_RATIO_ROOM)


def _foot(picture: Picture, y: float) -> tuple[list[str], float]:
    """What the rows have in common, and the small print; with the height of it all."""
    parts = [f'<path d="M{_MARGIN} {y:.1f}H{_WIDTH - _MARGIN}" stroke="{_RULE}" stroke-width="1.5"/>']
    y += 8
    colour = _SAME if picture.same else _NOT_SAME
    for line in _wrapped(picture.claim, _WIDTH - 2 * _MARGIN, 16, bold=True, lines=3):
        y += 16 * _LINE
        parts.append(_text(_MARGIN, y, line, 16, fill=colour, bold=True))
    y += 4
    for note in picture.notes:
        for line in _wrapped(note, _WIDTH - 2 * _MARGIN, 13, lines=3):
            y += 13 * _LINE
            parts.append(_text(_MARGIN, y, line, 13, fill=_QUIET))
    return parts, y + 30


def _document(picture: Picture, body: Sequence[str], height: int) -> str:
    told = "; ".join(
        f"{bar.number} {bar.name}: median {duration(bar.median)}, 95th percentile {duration(bar.p95)}, "
        f"{bar.ratio} the speed of the first, stale: {bar.stale or 'not said'}"
        for bar in picture.bars
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="ladder-title ladder-desc" font-family="sans-serif">'
    )
    return "\n".join(
        (
            head,
            f'<title id="ladder-title">{_safe(picture.title)}</title>',
            f'<desc id="ladder-desc">{_safe(f"{told}. {picture.claim}")}</desc>',
            f'<rect width="{_WIDTH}" height="{height}" rx="14" fill="{_GROUND}"/>',
            *body,
            "</svg>\n",
        )
    )


def _text(
    x: float,
    y: float,
    text: str,
    size: int,
    *,
    fill: str = _INK,
    bold: bool = False,
    anchor: str = "start",
    room: float | None = None,
) -> str:
    """A line of text; with `room`, in a smaller size where it would not fit."""
    if room is not None:
        size = min(size, math.floor(size * room / max(_measure(text, size, bold=bold), 1)))
    weight = ' font-weight="700"' if bold else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"'
    return f"<text {place}{weight}{side}>{_safe(text)}</text>"


def _safe(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _measure(text: str, size: float, *, bold: bool = False) -> float:
    """How wide the text is at most, in the widest of the usual fonts."""
    return sum(_character(character) for character in text) * size * (_BOLD if bold else 1)


def _character(character: str) -> float:
    if character in _NARROW:
        return _NARROW_WIDTH
    if character in _BROAD:
        return _BROAD_WIDTH
    if unicodedata.east_asian_width(character) in "WF":
        return _FULL_WIDTH
    return _CAPITAL_WIDTH if character.isupper() else _OTHER_WIDTH


def _wrapped(text: str, room: float, size: int, *, bold: bool = False, lines: int) -> list[str]:
    """The text in at most so many lines that fit; what is left over ends in "…"."""
    done: list[str] = []
    rest = " ".join(text.split(" ")).strip()
    while rest and len(done) < lines:
        fits = _fitting(rest, room, size, bold=bold)
        if fits < len(rest) and len(done) == lines - 1:
            return [
                *done,
                rest[: _fitting(rest, room - _measure("…", size, bold=bold), size, bold=bold)].rstrip() + "…",
            ]
        if fits < len(rest):
            fits = rest.rfind(" ", 1, fits + 1) if " " in rest[1 : fits + 1] else fits
        done.append(rest[:fits].rstrip())
        rest = rest[fits:].lstrip()
    return done


def _fitting(text: str, room: float, size: int, *, bold: bool) -> int:
    """How many characters fit, one at least."""
    used = 0.0
    for at, character in enumerate(text):
        used += _measure(character, size, bold=bold)
        if used > room:
            return max(at, 1)
    return len(text)


def _colour(at: int, of: int) -> str:
    """The colour of one of so many steps from slow to fast."""
    place = at * (len(_COLOURS) - 1) / max(of - 1, 1)
    low = min(math.floor(place), len(_COLOURS) - 2)
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(_COLOURS[low], _COLOURS[low + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)
