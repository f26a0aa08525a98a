"""Which views might answer which statements."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rejected, Rewrite
from tercet.advisor.query import Example
from tercet.advisor.views.candidate import Answer, ViewCandidate
from tercet.advisor.views.definition import define
from tercet.advisor.views.estimate import base_rows, view_rows
from tercet.advisor.views.match import match
from tercet.advisor.views.statement.adapt import adapt
from tercet.advisor.views.statement.inner import inner_selects
from tercet.advisor.views.statement.look import shape_of
from tercet.advisor.views.statement.safety import check_kept
from tercet.advisor.views.statement.shape import Unmatched, called, fixed, named, references
from tercet.errors import SqlInvalid
from tercet.sql import View
from tercet.sql.tree import parse, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.query import Query
    from tercet.advisor.views.definition import Definition
    from tercet.advisor.views.statement.inner import Around
    from tercet.advisor.views.statement.shape import Graph, Shape
    from tercet.sql import Index, Tree

# A view that holds more than this share of the rows it is made from saves too little to be kept up.
SHRINKING_MAX = 0.5
# The heaviest grouping statements that are looked at; each is matched with each view over its tables.
STATEMENTS_MAX = 200
# Statements that are read for that, the heaviest first: what comes after has no weight.
READ_MAX = 2_000
# Statements over the same tables that may share views, and the indexes that one view gets.
TOGETHER_MAX = 40
INDEXES_MAX = 6
# A view of one statement is proposed beside one of several only where it is so much smaller.
SMALLER = 0.5
# A common view may hold so many times the rows of the largest that one of its statements needs.
GROWTH_MAX = 4.0

_ADDITIVE = frozenset({"sum", "count"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query and the canonical form of each of its examples; the first speaks for it."""

    query: Query
    texts: tuple[Example, ...]
    shapes: tuple[Shape, ...]
    # What stands around each, where a SELECT within the statement is what is answered.
    around: tuple[Around | None, ...]

    @property
    def shape(self) -> Shape:
        return self.shapes[0]


def propose(queries: Sequence[Query], catalog: Catalog) -> tuple[ViewCandidate, ...]:
    """Views that answer these statements exactly, for an engine to try; the ones for most of the time first."""
    asked: list[_Asked] = []
    for query in sorted(queries, key=_weight, reverse=True)[:READ_MAX]:
        if len(asked) < STATEMENTS_MAX and query.reading:
            try:
                asked.append(_read(query, catalog))
            except Unmatched:
                continue
    graphs: dict[Graph, Shape] = {}
    for one in asked:
        graphs.setdefault(one.shape.graph, one.shape)
    found = [candidate for model in graphs.values() for candidate in _of_graph(model, asked)]
    return tuple(sorted(found, key=lambda one: -sum(_weights(queries, one))))


def why_not(query: Query, catalog: Catalog) -> str | None:
    """Why no view can answer this statement exactly; None if one can."""
    if not query.reading:
        return "it writes, or locks rows (FOR UPDATE)"
    try:
        asked = _read(query, catalog)
        definition = define([asked.shape])
        match(asked.shape, definition)
    except Unmatched as error:
        return error.why
    return _too_large(definition)


def _read(query: Query, catalog: Catalog) -> _Asked:
    texts = [Example(query.sql), *query.examples]
    if query.statement.fingerprint and query.examples and "$1" not in query.sql:
        texts = [*query.examples]
    try:
        trees = [parse(one.sql) for one in texts]
    except SqlInvalid as error:
        raise Unmatched(f"it cannot be read: {error.reason}") from error
    try:
        return _Asked(query, tuple(texts), _shapes(trees, catalog, query), (None,) * len(texts))
    except Unmatched as error:
        found = _within(query, texts, trees, catalog)
        if found is None:
            raise error from None
        return found


def _within(query: Query, texts: Sequence[Example], trees: Sequence[Tree], catalog: Catalog) -> _Asked | None:
    """The first SELECT within the statement that can be answered for itself, in all its examples alike."""
    inner = [tuple(inner_selects(tree)) for tree in trees]
    if len({len(one) for one in inner}) > 1:
        return None
    for around in zip(*inner, strict=True):
        with suppress(Unmatched):
            shapes = _shapes([one.inner for one in around], catalog, query)
            match(shapes[0], define(shapes))
            return _Asked(query, tuple(texts), shapes, around)
    return None


def _shapes(trees: Sequence[Tree], catalog: Catalog, query: Query) -> tuple[Shape, ...]:
    shapes = tuple(shape_of(tree, catalog, query.search_path) for tree in trees)
    if any(one.graph != shapes[0].graph for one in shapes):
        raise Unmatched("its examples join under different conditions")
    return shapes


def _of_graph(model: Shape, asked: Sequence[_Asked]) -> Iterator[ViewCandidate]:
    """The views over one set of joined tables, and what each answers."""
    those: list[_Asked] = []
    others: list[Rejected] = []
    for one in asked:
        try:
            shapes = tuple(adapt(shape, model) for shape in one.shapes)
        except Unmatched as error:
            if set(one.shape.graph.tables) <= set(model.graph.tables):
                others.append(Rejected(_label(one.query), error.why))
            continue
        if len(those) < TOGETHER_MAX:
            those.append(replace(one, shapes=shapes))
    definitions, rejected = _definitions(those)
    for definition in definitions:
        candidate = _candidate(definition, those, (*rejected, *others))
        if candidate is not None:
            yield candidate


def _definitions(those: Sequence[_Asked]) -> tuple[list[Definition], list[Rejected]]:
    """One view for as many as go together, those of single statements that are much smaller, and narrow ones."""
    rejected: list[Rejected] = []
    alone: list[tuple[_Asked, Definition]] = []
    together: list[_Asked] = []
    common: Definition | None = None
    for one in those:
        own = define(one.shapes)
        too_large = _too_large(own)
        if too_large is not None:
            rejected.append(Rejected(f"a view for {_label(one.query)}", too_large))
        else:
            wider = define([shape for other in (*together, one) for shape in other.shapes])
            if common is None or _goes_with(wider, common, own):
                common, together = wider, [*together, one]
        alone += [(one, each) for each in (own, *_narrow(one)) if _too_large(each) is None]
    kept = [] if common is None else [common]
    for one, own in alone:
        if common is None or one not in together or view_rows(own) <= SMALLER * view_rows(common):
            kept.append(own)
        elif own.query != common.query:
            why = f"about {view_rows(own):,.0f} rows instead of {view_rows(common):,.0f} save little"
            rejected.append(Rejected(f"the view {own.name} for {_label(one.query)} alone", why))
    return list({one.query: one for one in kept}.values()), rejected


def _goes_with(wider: Definition, common: Definition, own: Definition) -> bool:
    rows = view_rows(wider)
    return rows <= GROWTH_MAX * max(view_rows(common), view_rows(own)) and _too_large(wider) is None


def _narrow(one: _Asked) -> Iterator[Definition]:
    """The view that holds only what the statement's constants leave, where all its examples have the same."""
    same = [
        predicate
        for predicate in one.shape.predicates
        if all(predicate in shape.predicates for shape in one.shapes) and _lasting(predicate, one.shape)
    ]
    if same:
        yield define(one.shapes, same)


def _lasting(predicate: Tree, shape: Shape) -> bool:
    """Whether a condition will be asked the same way tomorrow: an equality with a word, never one of moments."""
    if fixed(predicate) is None and predicate.text("kind") != "AEXPR_IN":
        return False
    columns = [shape.column(ref) for ref in references(predicate)]
    if any(column is None or column.category in "DT" for column in columns):
        return False
    try:
        check_kept(predicate, shape.column)
    except Unmatched:
        return False
    return True


def _too_large(definition: Definition) -> str | None:
    rows, base = view_rows(definition), base_rows(definition)
    if not definition.keys or rows <= SHRINKING_MAX * base:
        return None
    columns = ", ".join(definition.key)
    return f"told apart by {columns}, it would hold about {rows:,.0f} rows of {base:,.0f}: too many to be worth keeping"


def _candidate(definition: Definition, those: Sequence[_Asked], rejected: tuple[Rejected, ...]) -> ViewCandidate | None:
    answers: list[Answer] = []
    indexes: dict[str, Index] = {}
    refused: list[Rejected] = []
    for one in those:
        try:
            matches = [match(shape, definition) for shape in one.shapes]
        except Unmatched as error:
            refused.append(Rejected(_label(one.query), error.why))
            continue
        first = matches[0]
        rules = (f"view {definition.name}",)
        asked = [
            made.sql if around is None else around.around(made.sql)
            for made, around in zip(matches, one.around, strict=True)
        ]
        conditions = (
            *first.conditions,
            *(("what stands around its inner SELECT stays as it is",) if one.around[0] else ()),
        )
        rewrite = Rewrite(one.query.fingerprint, one.texts[0].sql, asked[0], rules, conditions)
        examples = tuple(Example(sql, text.weight, text.origin) for sql, text in zip(asked, one.texts, strict=True))
        answers.append(Answer(rewrite, examples[-len(one.query.examples) :] or examples, first.direct))
        for made in matches:
            if made.index is not None and len(indexes) < INDEXES_MAX:
                indexes.setdefault(made.index.name, made.index)
    if not answers:
        return None
    view = View((definition.schema, definition.name), definition.query, definition.key, tuple(indexes.values()))
    return ViewCandidate(
        view,
        tuple(answers),
        rows=view_rows(definition),
        base_rows=base_rows(definition),
        why=_why(definition, len(answers)),
        conditions=tuple(_conditions(definition)),
        rejected=(*refused, *rejected),
        additive=all(called(one) in _ADDITIVE and not one.get("agg_distinct") for one in definition.measures),
    )


def _why(definition: Definition, answers: int) -> str:
    tables = ", ".join(name for name, _ in definition.graph.tables)
    by = f"one row for each {', '.join(definition.key)}" if definition.keys else "one row"
    many = "a statement" if answers == 1 else f"{answers} statements"
    return (
        f"{by} of {tables}, about {view_rows(definition):,.0f} instead of {base_rows(definition):,.0f}: "
        f"what {many} would add up each time is added up once"
    )


def _conditions(definition: Definition) -> Iterator[str]:
    if definition.baked:
        yield f"it holds only rows with {' and '.join(write(one) for one in definition.baked)}"
    on = (*definition.graph.joins, *(one for _, some in definition.graph.outer for one in some))
    fixed_in = sorted(write(one) for one in on if any(part.kind == "A_Const" for part in one.walk()))
    if fixed_in:
        yield f"its tables are joined for these values only: {' and '.join(fixed_in)}"
    words = [
        ".".join(named(one))
        for one in (*definition.keys, *definition.attributes)
        if one.kind == "ColumnRef" and _words(one, definition)
    ]
    if words:
        yield (
            f"{', '.join(words)} {'is' if len(words) == 1 else 'are'} copied into it, to filter, group or order by: "
            "whoever may read the view reads that, and row-level security does not apply to it"
        )
    if len(definition.attributes) and any(name for name, _ in definition.graph.outer):
        yield "rows that nothing is joined to are kept, with NULL sums and counts of 0"


def _words(ref: Tree, definition: Definition) -> bool:
    source, name = named(ref)
    column = definition.sources[source].table.column(name)
    return column is not None and column.category == "S"


def _weight(query: Query) -> float:
    return query.total_ms if query.total_ms is not None else query.calls


def _weights(queries: Sequence[Query], candidate: ViewCandidate) -> list[float]:
    helped = set(candidate.helps)
    return [_weight(one) for one in queries if one.fingerprint in helped]


def _label(query: Query) -> str:
    return query.label or query.sql
