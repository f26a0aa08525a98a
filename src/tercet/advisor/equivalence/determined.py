"""Whether a question has one answer: tops without a last tie-break, NULLs first, and what depends on the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.equivalence.moments import moments
from tercet.advisor.equivalence.verdict import Finding
from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.proved import VOLATILE, Determined, keys, not_null
from tercet.advisor.rewrites.sources import aggregates, blocks, columns, function, output_name
from tercet.sql.tree import Tree, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.rewrites.sources import Scope

# Aggregates whose answer depends on the order in which rows come.
_ORDERED = frozenset(
    {"array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "xmlagg"}
)
_SUMS = frozenset({"sum", "avg", "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp"})
_FLOATS = frozenset({"real", "double precision"})
# A tie-break of more columns than this is said in words.
_SAID_MAX = 6
# Window functions that tell rows of equal order apart.
_PLACES = frozenset({"row_number", "ntile", "lag", "lead", "first_value", "last_value", "nth_value"})


def determined(query: Tree, catalog: Catalog) -> tuple[Finding, ...]:
    """What leaves the answer of a query open, or makes it another than people mean; empty if nothing was found.

    Each finding says what to write instead. Only what the catalog proves is told: a table that it does not know
    has no key.
    """
    found: list[Finding] = []
    for number, (select, scope) in enumerate(blocks(query, catalog)):
        here = (*_tops(select, scope), *_nulls(select, scope), *_calls(select, scope), *moments(select, scope))
        found.extend(here if number == 0 else map(_inside, here))
    return tuple(dict.fromkeys(found))


def _inside(finding: Finding) -> Finding:
    return Finding(finding.kind, finding.what, finding.mend, open=finding.open, top=False)


def sort_keys(select: Tree) -> tuple[Tree, ...]:
    """The expressions that a SELECT is ordered by, with positions and names of outputs replaced by what they mean."""
    return tuple(meant(node, select) for one in select.trees("sort_clause") if (node := one.tree("node")) is not None)


def top_is_total(select: Tree, scope: Scope, order: tuple[Tree, ...]) -> bool:
    """Whether rows that are equal in these expressions are equal altogether."""
    if select.text("op") not in {"", "SETOP_NONE"}:
        return _union_is_total(select, order)
    groups = tuple(meant(one, select) for one in select.trees("group_clause"))
    values = [value for target in select.trees("target_list") if (value := target.tree("val")) is not None]
    known = Determined(select, scope, order)
    if groups and all(known.holds(one) for one in groups):
        return True
    if any(value.kind == "ColumnRef" and output_name(target) is None and not _starred(value, scope, known)
           for target in select.trees("target_list") if (value := target.tree("val")) is not None):  # fmt: skip
        return False
    if not groups and any(True for value in values for _ in aggregates(value)):
        return True  # one row
    return all(
        known.holds(value) for target, value in zip(select.trees("target_list"), values, strict=True)
        if output_name(target) is not None or value.kind != "ColumnRef"
    )  # fmt: skip


def _starred(value: Tree, scope: Scope, known: Determined) -> bool:
    words = value.trees("fields")
    wanted = [one for one in scope.sources if len(words) == 1 or one.name == words[0].text("sval")]
    return not scope.blind and all(
        one.columns is not None and all((one.name, name) in known.columns for name in one.columns) for one in wanted
    )


def _union_is_total(select: Tree, order: tuple[Tree, ...]) -> bool:
    arm = select
    while arm.text("op") not in {"", "SETOP_NONE"}:
        left = arm.tree("larg")
        if left is None:
            return False
        arm = left
    wanted = {output_name(target) for target in arm.trees("target_list")}
    said = set()
    for one in order:
        meaning = one.tree("ival")
        if one.kind == "A_Const" and meaning is not None:
            place = meaning.get("ival")
            targets = arm.trees("target_list")
            if isinstance(place, int) and 0 < place <= len(targets):
                said.add(output_name(targets[place - 1]))
        elif one.kind == "ColumnRef":
            said.add(one.trees("fields")[-1].text("sval"))
    return bool(wanted) and None not in wanted and wanted <= said


def _tops(select: Tree, scope: Scope) -> Iterator[Finding]:
    """A LIMIT, OFFSET, DISTINCT ON or place in a window that equal rows compete for."""
    order = sort_keys(select)
    limited = [word for name, word in (("limit_count", "LIMIT"), ("limit_offset", "OFFSET")) if _binds(select, name)]
    if limited and select.text("limit_option") != "LIMIT_OPTION_WITH_TIES" and not top_is_total(select, scope, order):
        how = "its order leaves ties" if order else "it has no order"
        yield Finding("ties", f"{' and '.join(limited)}: {how}, so which rows come is not said", _mend(select, scope))
    distinct_on = tuple(meant(one, select) for one in select.trees("distinct_clause") if one.kind != "Null")
    if distinct_on and not top_is_total(select, scope, (*distinct_on, *order)):
        what = "DISTINCT ON: its order leaves ties, so which row of several is kept is not said"
        yield Finding("kept", what, _mend(select, scope))
    for call in _below(select):
        window = call.tree("over")
        if window is not None and function(call) in _PLACES and not window.text("name"):
            sorts = tuple(node for one in window.trees("order_clause") if (node := one.tree("node")) is not None)
            if not top_is_total(_whole(select), scope, (*window.trees("partition_clause"), *sorts)):
                what = f"{function(call)}(): the order of its window leaves ties"
                yield Finding("places", what, f"end it with {', '.join(_keys(scope)) or 'a unique key'}")


def _whole(select: Tree) -> Tree:
    """The query without the outputs that are places in a window themselves."""
    kept = (
        target for target in select.trees("target_list")
        if not any(one.tree("over") is not None for one in target.walk() if one.kind == "FuncCall")
    )  # fmt: skip
    return select.replaced(target_list=tuple(kept))


def _binds(select: Tree, name: str) -> bool:
    value = select.tree(name)
    return value is not None and not (value.kind == "A_Const" and value.get("isnull"))


def _mend(select: Tree, scope: Scope) -> str:
    """The whole ORDER BY with what it lacks."""
    lacking = _breakers(select, scope)
    if not lacking or len(lacking) > _SAID_MAX:
        return "order by every column of the result at the end"
    written = [_sort(one, select, scope) for one in select.trees("sort_clause")]
    distinct = [write(one) for one in select.trees("distinct_clause") if one.kind != "Null" and not written]
    return f"ORDER BY {', '.join((*distinct, *written, *lacking))}"


def _sort(item: Tree, select: Tree, scope: Scope) -> str:
    node = item.tree("node")
    if node is None:
        return ""
    down = item.text("sortby_dir") == "SORTBY_DESC"
    nulls = {"SORTBY_NULLS_FIRST": " NULLS FIRST", "SORTBY_NULLS_LAST": " NULLS LAST"}.get(
        item.text("sortby_nulls"), ""
    )
    if down and not nulls and _may_be_null(meant(node, select), select, scope):
        nulls = " NULLS LAST"
    return f"{write(node)}{' DESC' if down else ''}{nulls}"


def _breakers(select: Tree, scope: Scope) -> list[str]:
    """What to add to an order so that nothing is left to chance; none if nobody knows a key."""
    if select.text("op") not in {"", "SETOP_NONE"}:
        return []
    given = list(sort_keys(select))
    groups = [meant(one, select) for one in select.trees("group_clause")]
    added: list[str] = []
    for one in _candidates(select, scope, groups):
        if top_is_total(select, scope, tuple(given)):
            break
        if not Determined(select, scope, given).holds(one):
            given.append(one)
            added.append(write(one))
    return added if top_is_total(select, scope, tuple(given)) else []


def _candidates(select: Tree, scope: Scope, groups: list[Tree]) -> Iterator[Tree]:
    if groups:
        # A group key that decides the others comes alone.
        for one in groups:
            known = Determined(select, scope, (*sort_keys(select), one))
            if all(known.holds(other) for other in groups):
                yield one
                return
        yield from groups
        return
    if select.get("distinct_clause") and select.trees("distinct_clause")[0].kind == "Null":
        yield from (value for target in select.trees("target_list") if (value := target.tree("val")) is not None)
        return
    for source in scope.sources:
        known_keys = keys(source.table) if source.table is not None else ()
        for name in known_keys[0] if known_keys else ():
            qualifier = (source.name,) if len(scope.sources) > 1 else ()
            words = tuple(Tree("String", (("sval", word),)) for word in (*qualifier, name))
            yield Tree("ColumnRef", (("fields", words),))
    # Without a key, the outputs themselves: rows that are equal in all of them cannot be told apart anyway.
    yield from (value for target in select.trees("target_list") if (value := target.tree("val")) is not None
                and output_name(target) is not None)  # fmt: skip


def _may_be_null(node: Tree, select: Tree, scope: Scope) -> bool:
    return not not_null(node, scope, grouped=bool(select.get("group_clause")))


def _nulls(select: Tree, scope: Scope) -> Iterator[Finding]:
    """ORDER BY … DESC over what may be NULL: PostgreSQL puts those rows first."""
    for item in select.trees("sort_clause"):
        node = item.tree("node")
        if node is None or item.text("sortby_dir") != "SORTBY_DESC":
            continue
        if item.text("sortby_nulls") in {"SORTBY_NULLS_FIRST", "SORTBY_NULLS_LAST"}:
            continue
        value = meant(node, select)
        unknown = any(scope.find(one) is None for one in columns(value))
        if _may_be_null(value, select, scope) and not unknown:
            why = "rows without any value come first" if any(True for _ in aggregates(value)) else "NULLs come first"
            mend = f"{write(node)} DESC NULLS LAST (or NULLS FIRST, if that is meant)"
            yield Finding("nulls_first", f"ORDER BY {write(node)} DESC: {why}", mend, open=False)


def _below(select: Tree) -> Iterator[Tree]:
    """The calls of this very query, without those of queries inside of it."""
    waiting = list(select.below())
    while waiting:
        tree = waiting.pop()
        if tree.kind == "SelectStmt":
            continue
        if tree.kind == "FuncCall":
            yield tree
        waiting.extend(tree.below())


def _calls(select: Tree, scope: Scope) -> Iterator[Finding]:
    for call in _below(select):
        name = function(call)
        if name in VOLATILE:
            yield Finding("volatile", f"{name}() answers otherwise each time", "give its value as a parameter")
        if name in _ORDERED and not call.get("agg_order") and call.tree("over") is None:
            mend = f"{write(call)[:-1]} ORDER BY {', '.join(_keys(scope)) or '…'})"
            yield Finding("unordered_aggregate", f"{name}() without ORDER BY takes rows as they come", mend)
        if name in _SUMS and any(_float(one, scope) for one in columns(call)):
            mend = "sum numeric instead, or round the result"
            yield Finding("float_sum", f"{write(call)} adds floats: the last digits depend on the plan", mend)


def _keys(scope: Scope) -> Iterator[str]:
    for source in scope.sources:
        known = keys(source.table) if source.table is not None else ()
        for name in known[0] if known else ():
            yield name if len(scope.sources) == 1 else f"{source.name}.{name}"


def _float(ref: Tree, scope: Scope) -> bool:
    found = scope.find(ref)
    return found is not None and found.column is not None and found.column.type in _FLOATS
