"""The scans of a statement: each table at each place, with the roles that its columns play there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.candidates.roles import share as shares
from tercet.advisor.candidates.roles.conditions import comparisons, listed, term, told
from tercet.advisor.candidates.roles.pushed import pushed
from tercet.advisor.candidates.roles.scan import Condition, Link, Order, Scan
from tercet.advisor.candidates.roles.used import counted, once, used
from tercet.advisor.scope import resolve
from tercet.advisor.scope.block import references
from tercet.errors import SqlInvalid
from tercet.sql.tree import parse

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from tercet.advisor.candidates.roles.conditions import Compared
    from tercet.advisor.candidates.roles.scan import Term
    from tercet.advisor.catalog import Catalog, Table
    from tercet.advisor.query import Query
    from tercet.advisor.scope.block import Block, Source
    from tercet.sql import Tree

# Of an OR, so many arms are looked at by themselves: each would need an index of its own.
ARMS_MAX = 4
_EXTREMES = frozenset({"min", "max"})
# Who links a source to the statement around it.
_OUTSIDE = "\0outer"


@dataclass(slots=True)
class _Roles:
    """What is said of one source of a block."""

    conditions: list[Condition] = field(default_factory=list)
    links: dict[str, list[Term]] = field(default_factory=lambda: defaultdict(list))
    # For each OR, what each of its arms says.
    arms: list[list[Condition]] = field(default_factory=list)


def scans(query: Query, catalog: Catalog) -> tuple[Scan, ...]:
    """Every table at every place of a statement; none where it cannot be read or resolved.

    Constants that differ between the query's examples are no constants.
    """
    path = query.search_path
    base = _of_text(query.sql, catalog, path)
    for text in dict.fromkeys(one.sql for one in query.examples if one.origin == "given" and one.sql != query.sql):
        base = _with_example(base, _of_text(text, catalog, path))
    pages = sum(max(scan.table.pages, 1) for scan in base)
    weight = query.calls if query.total_ms is None else query.total_ms
    return tuple(replace(one, query=query.fingerprint, weight=weight * max(one.table.pages, 1) / pages) for one in base)


def _of_text(text: str, catalog: Catalog, path: Sequence[str]) -> list[Scan]:
    try:
        block = resolve(parse(text), catalog, tuple(path))
    except SqlInvalid:
        return []
    more: dict[int, list[Tree]] = defaultdict(list)
    found: list[Scan] = []
    for one in block.walk():
        filters = [*_filters(one), *more[id(one)]]
        for inner, tree in pushed(one, filters):
            more[id(inner)].append(tree)
        found += _of_block(one, filters, catalog)
    return found


def _with_example(base: list[Scan], other: list[Scan]) -> list[Scan]:
    """What two examples of one statement share: a constant that differs is none, and its share is the mean."""
    if [one.table.name for one in base] != [one.table.name for one in other]:
        return base
    return [
        replace(one, conditions=tuple(_either(*pair) for pair in zip(one.conditions, two.conditions, strict=True)))
        if [each.test for each in one.conditions] == [each.test for each in two.conditions]
        else replace(one, conditions=tuple(replace(each, sql=None, value=None) for each in one.conditions))
        for one, two in zip(base, other, strict=True)
    ]


def _either(one: Condition, other: Condition) -> Condition:
    if one.sql == other.sql:
        return one
    known = one.value if one.value == other.value else None
    return replace(one, share=(one.share + other.share) / 2, sql=None, value=known)


def _of_block(block: Block, filters: Sequence[Tree], catalog: Catalog) -> Iterator[Scan]:
    roles: dict[int, _Roles] = defaultdict(_Roles)
    for tree in filters:
        _told(tree, block.sources, roles)
    _semijoins(block, roles)
    names = counted(block)
    for source in block.sources:
        if source.table is not None and not source.sampled:
            said = roles[source.number]
            yield from _arms(_scan(block, source, whole(source.table, catalog), said, names[source.number]), said)


def whole(table: Table, catalog: Catalog) -> Table:
    """A partitioned table with the pages of its partitions: it has none of its own."""
    parts = [whole(catalog.tables[name], catalog) for name in table.partitions if name in catalog.tables]
    if table.kind != "p" or not parts:
        return table
    pages, visible = sum(one.pages for one in parts), sum(one.all_visible_pages for one in parts)
    rows = table.rows if table.rows >= 0 else sum(max(one.rows, 0.0) for one in parts)
    return replace(table, pages=pages, all_visible_pages=visible, rows=rows)


def _filters(block: Block) -> Iterator[Tree]:
    """The conjuncts of WHERE and of the joins; what ON says of an outer join's kept side alone filters nothing."""
    yield from block.where
    for join in block.joins:
        kept = {"left": join.left, "right": join.right, "full": join.left | join.right}.get(join.kind, frozenset())
        for tree in join.on:
            numbers = {one.source for one in references(tree) if not one.up}
            if not numbers or not numbers <= kept:
                yield tree


def _told(tree: Tree, sources: tuple[Source, ...], roles: dict[int, _Roles]) -> None:
    """One conjunct, put down with the source or the sources of which it speaks."""
    if tree.kind == "BoolExpr" and tree.text("boolop") == "AND_EXPR":
        for one in tree.trees("args"):
            _told(one, sources, roles)
        return
    if tree.kind == "BoolExpr" and tree.text("boolop") == "OR_EXPR":
        _either_arm(tree, sources, roles)
        return
    found = listed(tree, sources)
    if found is not None:
        roles[found.source].conditions.append(found.condition)
        return
    for compared in comparisons(tree, sources):
        _compared(compared, sources, roles)


def _compared(one: Compared, sources: tuple[Source, ...], roles: dict[int, _Roles]) -> None:
    others = list(references(one.other))
    source = next(each for each in sources if each.number == one.source)
    if others:
        if one.operator == "=":
            near = next((each.source for each in others if not each.up), None)
            whose = _OUTSIDE if near is None else _alias(sources, near)
            roles[one.source].links[whose].append(one.term)
    elif source.table is not None and (said := told(one, source.table)) is not None:
        roles[one.source].conditions.append(said.condition)


def _either_arm(tree: Tree, sources: tuple[Source, ...], roles: dict[int, _Roles]) -> None:
    """Each arm by itself; arms that all ask the same term for a value are one list of values."""
    arms: list[dict[int, _Roles]] = []
    for arm in tree.trees("args"):
        said: dict[int, _Roles] = defaultdict(_Roles)
        _told(arm, sources, said)
        arms.append(said)
    for number in {number for arm in arms for number in arm}:
        found = [arm[number].conditions for arm in arms if number in arm]
        if len(found) < len(arms) or not all(found):
            continue
        firsts = [each[0] for each in found]
        alone = all(len(each) == 1 and each[0].test == "equal" for each in found)
        if alone and len({one.term.of for one in firsts}) == 1:
            share = min(1.0, sum(one.share for one in firsts))
            roles[number].conditions.append(Condition("any", firsts[0].term, share))
        elif len(found) <= ARMS_MAX:
            roles[number].arms.extend(found)


def _semijoins(block: Block, roles: dict[int, _Roles]) -> None:
    """What IN and EXISTS compare: they may be walked from the inside too."""
    for link in block.sublinks:
        if link.kind == "any" and link.test is not None and link.operator == "=":
            found = term(link.test, block.sources)
            if found is not None:
                roles[found[0]].links[f"\0{id(link)}"].append(found[1])
        if link.kind == "exists":
            for tree in link.block.where:
                for one in references(tree):
                    if one.up == 1 and tree.kind == "A_Expr":
                        _outward(tree, block.sources, roles)
                        break


def _outward(tree: Tree, sources: tuple[Source, ...], roles: dict[int, _Roles]) -> None:
    """The column of this block that a correlated condition inside of EXISTS compares."""
    names = tree.trees("name")
    if not names or names[-1].text("sval") != "=":
        return
    for side in (tree.tree("lexpr"), tree.tree("rexpr")):
        if side is not None and side.kind == "Column" and side.get("up") == 1:
            found = term(side.replaced(up=0), sources)
            if found is not None:
                roles[found[0]].links["the rows of EXISTS"].append(found[1])


def _alias(sources: tuple[Source, ...], number: int) -> str:
    return next((one.alias for one in sources if one.number == number), "another table")


def _scan(block: Block, source: Source, table: Table, roles: _Roles, names: Counter[str]) -> Scan:
    order, group, extremes = _order(block, source), _group(block, source), _extremes(block, source)
    return Scan(
        table, "", 1.0,
        conditions=_joined_ranges(roles.conditions),
        links=tuple(_link(whose, terms) for whose, terms in roles.links.items()),
        order=order,
        limited=block.limit is not None or bool(block.distinct_on),
        group=group,
        extremes=extremes,
        used=used(block, source, names),
        once=once(names),
        place=source.alias,
    )  # fmt: skip


def _link(whose: str, terms: list[Term]) -> Link:
    unique = tuple({one.of: one for one in terms}.values())
    return Link(unique, "the subquery" if whose.startswith("\0") else whose, outer=whose == _OUTSIDE)


def _arms(scan: Scan, roles: _Roles) -> Iterator[Scan]:
    yield scan
    for arm in roles.arms[:ARMS_MAX]:
        yield replace(scan, conditions=_joined_ranges([*roles.conditions, *arm]))


def _joined_ranges(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Two bounds of one term are one range."""
    found: list[Condition] = []
    for one in conditions:
        at = next((n for n, two in enumerate(found) if one.test == two.test == "range" and one.term == two.term), None)
        if at is None:
            found.append(one)
            continue
        two = found[at]
        both = one.share + two.share - (1 - shares.null(one.term.column)) if one.term.column is not None else 0.0
        unknown = one.value is None or two.value is None
        share = shares.BETWEEN_UNKNOWN if unknown else max(both, 1e-5)
        found[at] = replace(two, share=share, sql=None)
    return tuple(found)


def _order(block: Block, source: Source) -> tuple[Order, ...]:
    """The ORDER BY where all of it is of this source and not of groups; else the order that a window needs."""
    if block.grouped or block.operation:
        return ()
    found = [(one.tree, one.descending, one.nulls_first) for one in block.order]
    if not found and block.distinct_on:
        found = [(tree, False, False) for tree in block.distinct_on]
    if not found and len(block.windows) == 1:
        found = _window(block.windows[0])
    terms = [(_own(tree, block, source), down, first) for tree, down, first in found]
    if any(one is None for one, _, _ in terms):
        return ()
    return tuple(Order(one, down, first) for one, down, first in terms if one is not None)


def _window(call: Tree) -> list[tuple[Tree, bool, bool]]:
    over = call.tree("over")
    if over is None:
        return []
    found = [(tree, False, False) for tree in over.trees("partition_clause")]
    for one in over.trees("order_clause"):
        node, down = one.tree("node"), one.text("sortby_dir") == "SORTBY_DESC"
        first = {"SORTBY_NULLS_FIRST": True, "SORTBY_NULLS_LAST": False}.get(one.text("sortby_nulls"), down)
        if node is not None:
            found.append((node, down, first))
    return found


def _own(tree: Tree, block: Block, source: Source) -> Term | None:
    found = term(tree, block.sources)
    return found[1] if found is not None and found[0] == source.number and found[1].fit else None


def _group(block: Block, source: Source) -> tuple[Term, ...]:
    """The grouping columns where all are of this source; DISTINCT's too, and those that count(DISTINCT …) sorts."""
    trees = block.group if block.grouped else tuple(one.tree for one in block.outputs) if block.distinct else ()
    found = [_own(tree, block, source) for tree in trees]
    found += [
        _own(call.trees("args")[0], block, source)
        for call in block.aggregates
        if call.get("agg_distinct") and len(call.trees("args")) == 1
    ]
    terms = [one for one in found if one is not None]
    return tuple(terms) if len(terms) == len(found) else ()


def _extremes(block: Block, source: Source) -> tuple[Term, ...]:
    """What min and max are asked of, where there are no groups."""
    if block.group or block.grouping_sets is not None:
        return ()
    found = []
    for call in block.aggregates:
        names = call.trees("funcname")
        if names and names[-1].text("sval") in _EXTREMES and len(call.trees("args")) == 1:
            found.append(_own(call.trees("args")[0], block, source))
    return tuple(one for one in found if one is not None) if len(found) == len(block.aggregates) else ()
