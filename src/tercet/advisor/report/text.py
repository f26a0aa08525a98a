"""The advice for a terminal: verdicts first, a line a piece, as wide as there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from tercet.advisor.report import words
from tercet.advisor.report.document import total_ms
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tercet.advisor.advice import Advice, Engine, Piece, StatementAdvice

Tone = Literal["", "strong", "good", "bad", "faint"]
# A line as pieces of text, each with how it is meant to look.
Line: TypeAlias = "tuple[tuple[str, Tone], ...]"

# Statements told as left alone; what the others are is in the JSON and the HTML.
LEFT_ALONE_MAX = 10
# What a terminal obeys instead of showing it: C0 but for tab and newline, DEL, and C1.
_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
# Below this width a statement's figures go below its name.
_WIDE = 90
_LABEL_MAX = 44


def to_text(advice: Advice, *, width: int = 100) -> tuple[Line, ...]:
    """The lines of the advice, the statements that get faster first."""
    return tuple(_calm(_lines(advice, width)))


def _lines(advice: Advice, width: int) -> Iterator[Line]:
    better = [one for one in advice.statements if one.pieces]
    alone = [one for one in advice.statements if not one.pieces]
    told: set[int] = set()
    for one in better:
        yield from _statement(one, width)
        yield from _pieces(advice, one, told, width)
    apart = [piece for piece in advice.pieces if piece.number not in told and piece.kind != "none"]
    if apart and told:
        # Else they would seem to be for the statement above.
        yield (("Besides, for none of these alone:", "strong"),)
    for piece in apart:
        yield from _piece(piece, width)
    for one in alone[:LEFT_ALONE_MAX]:
        yield from _statement(one, width)
    if len(alone) > LEFT_ALONE_MAX:
        yield ((f"   and {len(alone) - LEFT_ALONE_MAX} more are left alone", "faint"),)
    if not advice.statements:
        yield (("No statement was found to look at.", ""),)
    yield from _end(advice)


def _statement(one: StatementAdvice, width: int) -> Iterator[Line]:
    label = one.label if len(one.label) <= _LABEL_MAX else one.label[: _LABEL_MAX - 1] + "…"
    figures = words.milliseconds(one.ms_before)
    if one.ms_after is not None and one.pieces:
        figures += f" → {words.milliseconds(one.ms_after)}"
    wrong = one.proof is not None and one.proof.same_rows is False
    tone: Tone = "bad" if wrong else "good" if one.pieces else "faint"
    strong: Tone = "strong" if one.pieces else ""
    if width >= _WIDE:
        yield (f"{label:<{_LABEL_MAX}}  ", strong), (f"{figures:>20}", strong), (f"    {words.verdict(one)}", tone)
    else:
        yield ((label, strong),)
        yield (f"   {figures}", strong), (f"  {words.verdict(one)}", tone)
    for note in one.notes if one.pieces else one.notes[1:]:
        yield ((f"     note   {note}", "faint"),)


def _pieces(advice: Advice, one: StatementAdvice, told: set[int], width: int) -> Iterator[Line]:
    """The pieces that change a statement; one that was told already only by its number."""
    for number in one.pieces:
        piece = advice.piece(number)
        if piece is None:
            continue
        if number in told:
            yield ((f"     with {number} above", "faint"),)
        else:
            yield from _piece(piece, width)
            told.add(number)


def _piece(piece: Piece, width: int) -> Iterator[Line]:
    head = f"{piece.number:>3}  {words.KINDS[piece.kind]:<7}  "
    what = words.what(piece)
    price = ", ".join(part for part in (words.price(piece), "fragile" if piece.fragile else "") if part)
    if width >= _WIDE and len(head) + len(what) <= _LABEL_MAX + 24:
        yield (head, ""), (f"{what:<{_LABEL_MAX + 24 - len(head)}}", ""), (price and f"  {price}", "faint")
    else:
        yield (head, ""), (what, "")
        if price:
            yield ((" " * len(head) + price, "faint"),)


def _end(advice: Advice) -> Iterator[Line]:
    both = total_ms(advice)
    if both is not None and any(one.pieces for one in advice.statements):
        before, after = both
        ratio = words.times(before, after)
        text = f"All of it: {words.milliseconds(before)} → {words.milliseconds(after)}"
        yield ((f"{text}{f', {ratio}' if ratio else ''}.", "strong"),)
    cost = words.costs(advice)
    yield ((f"{cost}   " if cost else "", ""), ("Nothing was changed.", "strong"))
    for note in advice.notes:
        yield ((note, "faint"),)
    if advice.engine is not None:
        yield ((engine(advice.engine), "faint"),)


def engine(one: Engine) -> str:
    """Who planned and how exactly, in one sentence."""
    parts = [f"Planned by {one.kind}: {one.why.rstrip('.')}"]
    if one.plans:
        parts.append(f"{one.same_plans} of {one.plans} plans as in production")
    if one.cost_error_mean is not None:
        worst = f", {one.cost_error_worst:.2%} at worst" if one.cost_error_worst is not None else ""
        parts.append(f"its cost is {one.cost_error_mean:.2%} off on average{worst}")
    if one.tried:
        parts.append(f"{one.tried:,} plans tried in {duration(one.seconds)}")
    if one.read_bytes:
        parts.append(f"{size(one.read_bytes)} read from production in {duration(one.read_seconds)}")
    return "; ".join(parts) + "."


def explained(advice: Advice, number: int) -> tuple[Line, ...] | None:
    """Everything about one piece: why, its statements and plans before and after, what else was tried."""
    piece = advice.piece(number)
    return None if piece is None else tuple(_calm(_explained(advice, piece)))


def _calm(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines without what would command a terminal; a statement's text may hold anything."""
    for line in lines:
        yield tuple((text.translate(_CONTROLS), tone) for text, tone in line)


def _explained(advice: Advice, piece: Piece) -> Iterator[Line]:
    yield ((f"{piece.number}  {words.KINDS[piece.kind]}  {words.what(piece)}", "strong"),)
    price = words.price(piece)
    if price:
        yield ((f"   {price}", "faint"),)
    yield ((f"   {piece.why}", ""),)
    if piece.fragile:
        yield (("   Its gain rests on a guess of rows that may be off.", "bad"),)
    for title, statements in (("do", piece.ddl), ("undo", piece.undo)):
        for statement in statements:
            yield (f"   {title:<5}", "faint"), (statement, "")
    for one in advice.statements:
        if piece.number in one.pieces:
            yield ()
            yield from _before_and_after(one)
    if piece.rejected:
        yield ()
        yield (("   not taken", "strong"),)
    for other in piece.rejected:
        yield (f"     {other.what}: ", ""), (other.why, "faint")


def _before_and_after(one: StatementAdvice) -> Iterator[Line]:
    yield from _statement(one, 0)
    if one.proof is not None and one.proof.interval is not None:
        low, high = one.proof.interval
        yield ((f"   between {low:.2f} and {high:.2f} times as quick", ""),)
    if one.proof is not None and one.proof.estimated_ms is not None and one.proof.method != "plan":
        measured = f"measured {words.milliseconds(one.ms_after)}"
        yield ((f"   estimated {words.milliseconds(one.proof.estimated_ms)}, {measured}", ""),)
    for site in one.sites:
        yield ((f"   asked at {site}", "faint"),)
    for title, sql in (("", one.sql), ("asked instead", one.sql_after)):
        if sql:
            yield ((f"   {title}", "strong"),) if title else ()
            yield from (((f"     {line}", "faint"),) for line in sql.splitlines())
    for title, plan in (("before", one.plan_before), ("after", one.plan_after)):
        if plan is not None:
            yield ((f"   {title}", "strong"),)
            yield from (((f"     {line}", ""),) for line in plan.text().splitlines())
