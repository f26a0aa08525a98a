"""Conditions taken apart into predicates: what each source is asked for, by which key, with which values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tercet.advisor.scope.block import BLOCK, Block, Join, Place
from tercet.advisor.scope.facts import correlated, is_volatile, needs, number
from tercet.advisor.scope.patterns import pattern_kind
from tercet.advisor.scope.predicate import Bound, Kind, Predicate
from tercet.advisor.scope.resolving.expressions import is_aggregate
from tercet.advisor.scope.resolving.names import function
from tercet.advisor.scope.resolving.types import type_of
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

# What an operator is with its sides changed.
_COMMUTED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<=", "@>": "<@", "<@": "@>", "&&": "&&",
             "@@": "@@"}  # fmt: skip
_RANGES = frozenset({"<", "<=", ">", ">="})
_CONTAINS = frozenset({"@>", "<@", "&&", "?", "?|", "?&", "@?"})
_MATCHES = frozenset({"~", "~*", "~~", "~~*", "^@", "%", "<%", "%>", "<<%", "%>>"})


def predicates(block: Block) -> tuple[Predicate, ...]:
    """What a block asks of its sources in WHERE, in each ON and in HAVING.

    ANDs are opened, NOT (a OR b) too; what all sides of an OR ask stands beside it; two ends of one range are put
    together; a join is told from both sides. What subqueries ask is theirs: see their own blocks.
    """
    found = [one for tree in block.where for one in _Reading(block, "where").of(tree)]
    for at, join in enumerate(block.joins):
        reading = _Reading(block, "on", at)
        found += [_of_join(one, join, block) for tree in join.on for one in reading.of(tree)]
    having = [one for tree in block.having for one in _Reading(block, "having").of(tree)]
    found += [replace(one, narrows=False) for one in having]
    return together(found)


def of(tree: Tree, block: Block) -> list[Predicate]:
    """The predicates of one resolved condition, as if it stood in the block's WHERE."""
    return _Reading(block, "where").of(tree)


def together(found: Iterable[Predicate]) -> tuple[Predicate, ...]:
    """Predicates with two ends of one range put together."""
    return tuple(_ranges(found))


def _of_join(one: Predicate, join: Join, block: Block) -> Predicate:
    """A predicate of ON, with what the joins around it leave of it."""
    inside = join.left | join.right
    lost = any(inside <= _nullable(other) for other in block.joins if other is not join)
    always = join.kind in {"inner", "cross"} and not lost
    narrows = join.kind in {"inner", "cross"} or (one.source in _nullable(join) and join.kind != "full")
    alternatives = tuple(tuple(_of_join(part, join, block) for part in parts) for parts in one.alternatives)
    return replace(one, always=always, narrows=narrows, alternatives=alternatives)


def _nullable(join: Join) -> frozenset[int]:
    """The sources that an outer join may fill with NULLs."""
    left = join.left if join.kind in {"right", "full"} else frozenset[int]()
    right = join.right if join.kind in {"left", "full"} else frozenset[int]()
    return left | right


@dataclass(frozen=True, slots=True)
class _Reading:
    """Conjuncts that stand at one place of a block."""

    block: Block
    place: Place
    join: int | None = None

    def of(self, tree: Tree) -> list[Predicate]:
        """The predicates of one conjunct."""
        return [one for part in _opened(tree) for one in self._one(part)]

    def _one(self, tree: Tree) -> list[Predicate]:
        if tree.kind == "BoolExpr" and tree.text("boolop") == "OR_EXPR":
            return self._either(tree)
        read = _READ.get(tree.kind)
        if read is None:
            return [self.other(tree)]
        return read(self, tree)

    def _either(self, tree: Tree) -> list[Predicate]:
        """An OR: what all sides ask, and the alternatives that are left."""
        sides = [tuple(part for conjunct in _opened(one) for part in (conjunct,)) for one in _flat(tree)]
        common = [one for one in sides[0] if all(one in side for side in sides[1:])]
        found = [one for part in common for one in self._one(part)]
        rests = [[one for one in side if one not in common] for side in sides]
        if not all(rests):  # one side asks nothing else
            return found
        alternatives = tuple(together(one for part in rest for one in self._one(part)) for rest in rests)
        listed = _list(alternatives)
        sources = frozenset(source for side in alternatives for one in side for source in one.sources)
        whole = tree.replaced(args=tuple(_all(rest) for rest in rests)) if common else tree
        made = self.made(
            "or", whole, source=_only(sources), sources=sources, alternatives=alternatives,
            correlated=correlated(tree, self.block),
        )  # fmt: skip
        if listed is not None:
            made = replace(made, kind="in", key=listed[0].key, operator="=", values=tuple(o.values[0] for o in listed))
        return [*found, made]

    def made(self, kind: Kind, tree: Tree, **facts: Any) -> Predicate:
        """A predicate that stands here."""
        return replace(Predicate(kind, (tree,), self.place, self.join), **facts)

    def other(self, tree: Tree, **facts: Any) -> Predicate:
        """A predicate of which only the sources are known."""
        sources = needs(tree, self.block)
        facts = {"source": _only(sources), "sources": sources, "correlated": correlated(tree, self.block), **facts}
        return self.made("other", tree, **facts)

    def fixed(self, *trees: Tree) -> bool:
        """Whether these are the same for every row of the block."""
        return not any(
            needs(one, self.block) or is_volatile(one) or any(map(is_aggregate, one.walk())) for one in trees
        )

    def source(self, tree: Tree) -> int | None:
        """The one source that a key is of; None if it cannot be a key."""
        if is_volatile(tree) or any(one.kind == BLOCK for one in tree.walk()):
            return None
        return _only(needs(tree, self.block))

    def keyed(self, kind: Kind, tree: Tree, key: Tree, operator: str, *values: Tree, **facts: Any) -> Predicate:
        """A predicate on one source's key with fixed values, or "other" if it is not that."""
        source = self.source(key)
        if source is None or not self.fixed(*values):
            return self.other(tree)
        far = any(correlated(one, self.block) for one in values)
        return self.made(
            kind, tree, source=source, sources=frozenset({source}), key=key, operator=operator, values=values,
            correlated=far, **facts,
        )  # fmt: skip


def _operator(reading: _Reading, tree: Tree) -> list[Predicate]:
    """key operator value, either way round."""
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    names = tree.trees("name")
    operator = {"!=": "<>"}.get(word := names[-1].text("sval") if names else "", word)
    if left is None or right is None:
        return [reading.other(tree)]
    if not reading.fixed(right) and (reading.fixed(left) or operator == "="):
        if reading.fixed(left) and operator in _COMMUTED:
            left, right, operator = right, left, _COMMUTED[operator]
        elif operator == "=":
            return _joined(reading, tree, left, right)
    return [_compared(reading, tree, left, operator, right)]


def _compared(reading: _Reading, tree: Tree, key: Tree, operator: str, value: Tree) -> Predicate:
    """A key compared with what is the same for every row."""
    if operator == "=":
        return _equal(reading, tree, key, value)
    kind: Kind = "other"
    ends = {}
    if operator in _RANGES:
        kind, bound = "range", Bound(value, operator.endswith("="))
        ends = {"lower": bound} if operator.startswith(">") else {"upper": bound}
    elif operator == "@@":
        kind = "contains" if type_of(key, reading.block.sources) == "jsonb" else "search"
    elif operator in _CONTAINS:
        kind = "contains"
    elif operator in _MATCHES:
        kind = pattern_kind(operator, value)
    return reading.keyed(kind, tree, key, operator, value, **ends)


def _equal(reading: _Reading, tree: Tree, key: Tree, value: Tree) -> Predicate:
    found = reading.keyed("equal", tree, key, "=", value)
    if found.kind == "equal" and found.correlated:
        return replace(found, kind="join", other=value)
    return found


def _joined(reading: _Reading, tree: Tree, left: Tree, right: Tree) -> list[Predicate]:
    """An equality between sources, told from each side that is of one source."""
    ours, theirs = needs(left, reading.block), needs(right, reading.block)
    found = []
    for key, other, near, far in ((left, right, ours, theirs), (right, left, theirs, ours)):
        source = reading.source(key)
        if source is None or source in far or is_volatile(other):
            continue
        facts = {"source": source, "sources": near | far, "key": key, "operator": "=", "other": other}
        facts |= {"other_source": _only(far), "correlated": correlated(other, reading.block)}
        found.append(reading.made("join", tree, **facts))
    return found or [reading.other(tree)]


def _any(reading: _Reading, tree: Tree) -> list[Predicate]:
    """key = ANY (array)."""
    left, right, (name, *_) = tree.tree("lexpr"), tree.tree("rexpr"), tree.trees("name")
    if left is None or right is None or name.text("sval") != "=" or not needs(left, reading.block):
        return [reading.other(tree)]
    return [reading.keyed("in", tree, left, "=", right)]


def _in(reading: _Reading, tree: Tree) -> list[Predicate]:
    """key IN (values)."""
    left, items, (name, *_) = tree.tree("lexpr"), tree.tree("rexpr"), tree.trees("name")
    if left is None or items is None or name.text("sval") != "=":
        return [reading.other(tree)]
    values = items.trees("items")
    if len(values) == 1:
        return [_equal(reading, tree, left, values[0])]
    return [reading.keyed("in", tree, left, "=", *values)]


def _between(reading: _Reading, tree: Tree) -> list[Predicate]:
    left, ends = tree.tree("lexpr"), tree.tree("rexpr")
    if left is None or ends is None:
        return [reading.other(tree)]
    low, high = ends.trees("items")
    bounds = {"lower": Bound(low, inclusive=True), "upper": Bound(high, inclusive=True)}
    return [reading.keyed("range", tree, left, "between", low, high, **bounds)]


_EXPRESSIONS: Mapping[str, Callable[[_Reading, Tree], list[Predicate]]] = {
    "AEXPR_OP": _operator,
    "AEXPR_LIKE": _operator,
    "AEXPR_ILIKE": _operator,
    "AEXPR_SIMILAR": _operator,
    "AEXPR_OP_ANY": _any,
    "AEXPR_IN": _in,
    "AEXPR_BETWEEN": _between,
}


def _expression(reading: _Reading, tree: Tree) -> list[Predicate]:
    read = _EXPRESSIONS.get(tree.text("kind"))
    return [reading.other(tree)] if read is None else read(reading, tree)


def _null(reading: _Reading, tree: Tree) -> list[Predicate]:
    key = tree.tree("arg")
    kind: Kind = "null" if tree.text("nulltesttype") == "IS_NULL" else "not_null"
    return [reading.other(tree) if key is None else reading.keyed(kind, tree, key, kind.replace("_", " "))]


def _test(reading: _Reading, tree: Tree) -> list[Predicate]:
    """IS TRUE and its like."""
    key, words = tree.tree("arg"), tree.text("booltesttype").lower().replace("_", " ")
    if key is None:
        return [reading.other(tree)]
    return [reading.keyed("boolean", tree, key, words, negated=words in {"is false", "is not true"})]


def _column(reading: _Reading, tree: Tree) -> list[Predicate]:
    return [reading.keyed("boolean", tree, tree, "is true")]


def _not(reading: _Reading, tree: Tree) -> list[Predicate]:
    """A NOT that could not be opened."""
    (inside,) = tree.trees("args")
    if inside.kind == "Column":
        return [reading.keyed("boolean", tree, inside, "is false", negated=True)]
    if inside.kind == "SubLink":
        return [replace(one, trees=(tree,), negated=True) for one in _sublink(reading, inside)]
    return [reading.other(tree)]


def _sublink(reading: _Reading, tree: Tree) -> list[Predicate]:
    inside = tree.tree("subselect")
    if inside is None or tree.text("sub_link_type") not in {"EXISTS_SUBLINK", "ANY_SUBLINK"}:
        return [reading.other(tree)]
    at = number(inside)
    one, key = reading.block.sublinks[at], tree.tree("testexpr")
    facts: dict[str, Any] = {"kind": "query", "sublink": at, "operator": one.operator, "key": key}
    if key is not None:
        facts["source"] = reading.source(key)
    return [replace(reading.other(tree), **facts)]


def _call(reading: _Reading, tree: Tree) -> list[Predicate]:
    match function(tree), tree.trees("args"):
        case "starts_with", (key, beginning):
            return [reading.keyed("prefix", tree, key, "^@", beginning)]
    return [reading.other(tree)]


_READ: Mapping[str, Callable[[_Reading, Tree], list[Predicate]]] = {
    "A_Expr": _expression,
    "NullTest": _null,
    "BooleanTest": _test,
    "BoolExpr": _not,
    "SubLink": _sublink,
    "FuncCall": _call,
    "Column": _column,
}


def _opened(tree: Tree, *, negated: bool = False) -> Iterator[Tree]:
    """The conjuncts of a condition: ANDs, negated ORs and equal rows opened, two NOTs taken away."""
    word = tree.text("boolop") if tree.kind == "BoolExpr" else ""
    if word == "NOT_EXPR":
        yield from _opened(tree.trees("args")[0], negated=not negated)
    elif word == ("OR_EXPR" if negated else "AND_EXPR"):
        for one in tree.trees("args"):
            yield from _opened(one, negated=negated)
    elif negated:
        yield _negation(tree)
    else:
        yield from _rows(tree)


def _negation(tree: Tree) -> Tree:
    """NOT around a condition; a test for NULL turned into the other one."""
    arg = tree.tree("arg")
    if tree.kind == "NullTest" and arg is not None and arg.kind == "Column":
        return tree.replaced(nulltesttype="IS_NOT_NULL" if tree.text("nulltesttype") == "IS_NULL" else "IS_NULL")
    return Tree("BoolExpr", (("boolop", "NOT_EXPR"), ("args", (tree,))))


def _rows(tree: Tree) -> Iterator[Tree]:
    """(a, b) = (1, 2) as a = 1 and b = 2; everything else as it is."""
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    if (
        tree.text("kind") == "AEXPR_OP" and left is not None and right is not None
        and left.kind == right.kind == "RowExpr" and [one.text("sval") for one in tree.trees("name")] == ["="]
        and len(left.trees("args")) == len(right.trees("args"))
    ):  # fmt: skip
        for one, other in zip(left.trees("args"), right.trees("args"), strict=True):
            yield from _rows(tree.replaced(lexpr=one, rexpr=other))
    else:
        yield tree


def _flat(tree: Tree) -> Iterator[Tree]:
    """The sides of an OR, ORs inside of it opened."""
    if tree.kind == "BoolExpr" and tree.text("boolop") == "OR_EXPR":
        for one in tree.trees("args"):
            yield from _flat(one)
    else:
        yield tree


def _all(trees: Sequence[Tree]) -> Tree:
    """The AND of these."""
    return trees[0] if len(trees) == 1 else Tree("BoolExpr", (("boolop", "AND_EXPR"), ("args", tuple(trees))))


def _list(alternatives: Sequence[tuple[Predicate, ...]]) -> list[Predicate] | None:
    """The equalities that an OR is made of, if it is a = 1 or a = 2 and nothing else."""
    singles = [side[0] for side in alternatives if len(side) == 1 and side[0].kind == "equal"]
    if len(singles) < len(alternatives) or len({one.key for one in singles}) > 1:
        return None
    return singles


def _ranges(found: Iterable[Predicate]) -> Iterator[Predicate]:
    """The predicates with two ends of the same range put together, where the first of them stood."""
    kept: list[Predicate] = []
    for one in found:
        at = next((at for at, other in enumerate(kept) if _completes(other, one)), None)
        if at is None:
            kept.append(one)
            continue
        other = kept[at]
        kept[at] = replace(
            other, trees=other.trees + one.trees, values=other.values + one.values, operator="between",
            lower=other.lower or one.lower, upper=other.upper or one.upper,
            correlated=other.correlated or one.correlated,
        )  # fmt: skip
    yield from kept


def _completes(one: Predicate, other: Predicate) -> bool:
    return (
        one.kind == other.kind == "range" and one.key == other.key
        and (one.place, one.join) == (other.place, other.join)
        and (one.lower is None) != (one.upper is None)
        and (one.lower is None) == (other.upper is None) and (one.upper is None) == (other.lower is None)
    )  # fmt: skip


def _only(sources: frozenset[int]) -> int | None:
    return next(iter(sources)) if len(sources) == 1 else None
