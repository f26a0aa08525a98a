"""The advice as one page of HTML that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from tercet.advisor.advice import CachePolicy, Rewrite
from tercet.advisor.report import words
from tercet.advisor.report.document import total_ms
from tercet.advisor.report.markup import Inside, Markup, joined, tag
from tercet.advisor.report.text import engine
from tercet.advisor.report.trees import head, tree
from tercet.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.advice import Advice, Piece, StatementAdvice

# Nothing may be loaded or run, whatever the texts of the statements hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def to_html(advice: Advice) -> str:
    """The whole page: verdicts first, then the pieces, and what was left alone."""
    css = files("tercet.advisor.report").joinpath("page.css").read_text(encoding="utf-8")
    top = joined(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", f"Advice for {advice.source}"),
        Markup(f"<style>{css}</style>"),
    )
    page = tag("html", tag("head", top), tag("body", tag("main", *_main(advice))), lang="en")
    return f"<!doctype html>\n{page.html}\n"


def _main(advice: Advice) -> Iterator[Markup]:
    better = [one for one in advice.statements if one.pieces]
    alone = [one for one in advice.statements if not one.pieces]
    yield tag("h1", _headline(advice, len(better)))
    yield tag("p", f"From {advice.source}. Nothing was changed.", class_="soft")
    yield tag("ul", *_figures(advice), class_="figures")
    if better:
        yield tag("h2", "What gets faster")
        yield from (_statement(one, advice) for one in better)
    pieces = [piece for piece in advice.pieces if piece.kind != "none"]
    if pieces:
        yield tag("h2", "What to do")
        yield from (_piece(piece, advice) for piece in pieces)
    if alone:
        yield tag("h2", "Left alone")
        yield tag("article", *_alone(alone))
    yield tag("footer", *_foot(advice))


def _headline(advice: Advice, better: int) -> str:
    if not advice.statements:
        return "No statement was found to look at"
    if not better:
        return "Nothing to change" if not advice.pieces else "Nothing gets faster, but something can go"
    return f"{better:,} of {words.count(len(advice.statements), 'statement')} can be faster"


def _figures(advice: Advice) -> Iterator[Markup]:
    both = total_ms(advice)
    if both is not None:
        before, after = both
        ratio = words.times(before, after)
        text = (
            f"{words.milliseconds(before)} → {words.milliseconds(after)}"
            if after < before
            else words.milliseconds(before)
        )
        yield _figure(text, f"all calls together{f', {ratio}' if ratio and after < before else ''}")
    bytes_ = advice.size_bytes
    if bytes_:
        budget = f" of {size(advice.budget_bytes)}" if advice.budget_bytes is not None and bytes_ > 0 else ""
        yield _figure(f"{size(abs(bytes_))}{budget}", "more on the disk" if bytes_ > 0 else "less on the disk")
    writes = [piece.write_cost for piece in advice.pieces if piece.write_cost is not None]
    if writes:
        yield _figure(f"{max(writes, key=abs):+.1f} %", "for writes, at the most of one piece")
    yield _figure(f"{len(advice.pieces):,}", "pieces of advice" if len(advice.pieces) != 1 else "piece of advice")


def _figure(text: str, below: str) -> Markup:
    return tag("li", tag("b", text), tag("span", below))


def _statement(one: StatementAdvice, advice: Advice) -> Markup:
    wrong = one.proof is not None and one.proof.same_rows is False
    times = joined(words.milliseconds(one.ms_before), " → ", tag("b", words.milliseconds(one.ms_after)))
    proof = words.verdict(one)
    sure = one.proof is not None and one.proof.method != "plan"
    return tag(
        "article",
        tag(
            "header",
            tag("span", one.label, class_="name"),
            tag("span", times, class_="times"),
            tag("span", proof, class_="chip bad" if wrong else "chip good" if sure else "chip") if proof else None,
        ),
        _bars(one),
        tag("p", words.count(one.calls, "call"), *_with(one, advice), class_="soft"),
        *(tag("p", note) for note in one.notes),
        _measured(one),
        _sql(one),
        _plans(one),
        id=f"statement-{one.fingerprint}",
    )


def _bars(one: StatementAdvice) -> Markup | None:
    if one.ms_before is None or one.ms_after is None or max(one.ms_before, one.ms_after) <= 0:
        return None
    longest = max(one.ms_before, one.ms_after)
    return tag(
        "div",
        tag("i", style=f"width:{100 * one.ms_before / longest:.2f}%"),
        tag("i", class_="good", style=f"width:{100 * one.ms_after / longest:.2f}%"),
        class_="bars",
        aria_hidden="true",
    )


def _with(one: StatementAdvice, advice: Advice) -> Iterator[Inside]:
    for number in one.pieces:
        piece = advice.piece(number)
        if piece is not None:
            yield joined(" · ", tag("a", str(number), href=f"#piece-{number}", class_="number"), " ")
            yield tag("code", f"{words.KINDS[piece.kind]} {words.what(piece)}")


def _measured(one: StatementAdvice) -> Markup | None:
    proof = one.proof
    if proof is None:
        return None
    parts = []
    if proof.interval is not None:
        parts.append(f"between {proof.interval[0]:.2f} and {proof.interval[1]:.2f} times as quick")
    if proof.estimated_ms is not None and proof.method != "plan":
        parts.append(f"estimated {words.milliseconds(proof.estimated_ms)}, measured {words.milliseconds(one.ms_after)}")
    if proof.buffers_before is not None and proof.buffers_after is not None:
        parts.append(f"{proof.buffers_before:,} → {proof.buffers_after:,} pages")
    return tag("p", "; ".join(parts), class_="soft") if parts else None


def _sql(one: StatementAdvice) -> Markup:
    inside: list[Inside] = [tag("summary", "The statement"), tag("pre", one.sql)]
    if one.sql_after:
        inside += [tag("h3", "Asked instead"), tag("pre", one.sql_after)]
    if one.sites:
        inside += [
            tag("h3", "Asked at"),
            tag("ul", *(tag("li", tag("code", site)) for site in one.sites), class_="plain"),
        ]
    return tag("details", *inside)


def _plans(one: StatementAdvice) -> Markup | None:
    if one.plan_before is None and one.plan_after is None:
        return None
    sides = []
    for title, plan, other in (
        ("Before", one.plan_before, None),
        ("After", one.plan_after, one.plan_before),
    ):
        if plan is not None:
            sides.append(tag("div", tag("h3", f"{title}: {head(plan)}"), tree(plan, other=other)))
    return tag("details", tag("summary", "The plans"), tag("div", *sides, class_="plans"), open="")


def _piece(piece: Piece, advice: Advice) -> Markup:
    helped = [one for one in advice.statements if piece.number in one.pieces]
    price = words.price(piece)
    return tag(
        "article",
        tag(
            "header",
            tag("span", str(piece.number), class_="number"),
            tag("span", f"{words.KINDS[piece.kind]} ", tag("code", words.what(piece)), class_="name"),
            tag("span", price, class_="times") if price else None,
            tag("span", "fragile", class_="chip bad") if piece.fragile else None,
        ),
        tag("p", piece.why),
        tag("p", "Helps: ", *_helped(helped), class_="soft") if helped else None,
        tag("pre", ";\n".join(piece.ddl) + ";") if piece.ddl else None,
        *_value(piece),
        _rejected(piece),
        _undo(piece),
        id=f"piece-{piece.number}",
    )


def _helped(statements: list[StatementAdvice]) -> Iterator[Inside]:
    for at, one in enumerate(statements):
        yield ", " if at else None
        yield tag("a", one.label or one.fingerprint, href=f"#statement-{one.fingerprint}")


def _value(piece: Piece) -> Iterator[Markup]:
    if isinstance(piece.value, CachePolicy):
        yield tag("pre", "\n".join(piece.value.lines))
    if isinstance(piece.value, Rewrite):
        yield tag("pre", piece.value.after)
        if piece.value.conditions:
            yield tag("p", "Holds because:", class_="soft")
            yield tag("ul", *(tag("li", one) for one in piece.value.conditions), class_="plain")


def _rejected(piece: Piece) -> Markup | None:
    if not piece.rejected:
        return None
    rows = (tag("li", tag("code", one.what), ": ", one.why) for one in piece.rejected)
    return tag(
        "details", tag("summary", f"{len(piece.rejected)} other ways were tried"), tag("ul", *rows, class_="plain")
    )


def _undo(piece: Piece) -> Markup | None:
    if not piece.undo:
        return None
    return tag("details", tag("summary", "How to take it back"), tag("pre", ";\n".join(piece.undo) + ";"))


def _alone(statements: list[StatementAdvice]) -> Iterator[Markup]:
    cells = (("Statement", None), ("Calls", "figure"), ("Each", "figure"), ("Why", None))
    head = tag("tr", *(tag("th", text, class_=kind) for text, kind in cells))
    rows = (
        tag(
            "tr",
            tag("td", tag("code", one.label or one.sql)),
            tag("td", f"{one.calls:,.0f}", class_="figure"),
            tag("td", words.milliseconds(one.ms_before), class_="figure"),
            tag("td", " ".join(one.notes)),
        )
        for one in statements
    )
    yield tag("table", tag("thead", head), tag("tbody", *rows))


def _foot(advice: Advice) -> Iterator[Markup]:
    yield from (tag("p", note) for note in advice.notes)
    if advice.engine is not None:
        yield tag("p", engine(advice.engine))
