"""Two answers to one question: the same rows, the same but for ties that the question leaves open, or not the same."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from tercet.errors import NotComparable, SqlInvalid
from tercet.proof import row_checksums
from tercet.sql.tree import Tree, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# So many rows are kept as they are, to say what differs and to forgive the last digits of floating point numbers;
# of more, only their checksums are.
KEPT_MAX = 20_000
# And of more than this, only how many there were and the sum of their checksums.
LISTED_MAX = 1_000_000
# Sums of floating point numbers depend on the order of adding; this is far above that, and far below a mistake.
_FLOAT_TOLERANCE = 1e-9


@dataclass
class Answer:
    """The rows of one run, read piece by piece."""

    count: int = 0
    kept: list[tuple[object, ...]] = field(default_factory=list)
    # Names of the columns, once they are known.
    names: tuple[str, ...] = ()
    checksums: list[str] = field(default_factory=list)
    total: int = 0

    def take(self, rows: Iterable[Sequence[object]]) -> None:
        """Add rows in the order in which they came."""
        for row in rows:
            values = tuple(row)
            text = _checksum(values)
            self.count += 1
            self.total = (self.total + int(text, 16)) % (1 << 256)
            if self.count <= KEPT_MAX:
                self.kept.append(values)
            if self.count <= LISTED_MAX:
                self.checksums.append(text)

    @property
    def whole(self) -> bool:
        """Whether every row is there as it was."""
        return self.count == len(self.kept)


@dataclass(frozen=True, slots=True)
class Order:
    """What a question says of the order of its rows: by which columns of its answer, and whether it stops early.

    `columns` is None where the order is by something that the answer does not show.
    """

    ordered: bool = False
    columns: tuple[int, ...] | None = ()
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Sameness:
    """`same` is None where both answers are right and still differ, for the question leaves it open, or are empty."""

    same: bool | None
    sentence: str
    # How many rows of each were compared; None where that says nothing.
    rows: int | None = None

    @property
    def empty(self) -> bool:
        """Whether there was no row to be compared."""
        return self.rows == 0


def order_of(sql: str, names: Sequence[str]) -> Order:
    """What this text asks for; `names` are the columns of its answer."""
    try:
        tree = parse(sql)
    except SqlInvalid:
        return Order()
    keys = [one.tree("node") for one in tree.trees("sort_clause")]
    limited = tree.tree("limit_count") is not None or tree.tree("limit_offset") is not None
    places = [_place(key, tree, names) for key in keys]
    known = tuple(place for place in places if place is not None)
    return Order(bool(keys), known if len(known) == len(places) else None, limited)


def _place(key: Tree | None, select: Tree, names: Sequence[str]) -> int | None:
    """Which column of the answer a sort key is: by its number, its name, or the same expression."""
    if key is None:
        return None
    number = key.tree("ival")
    if key.kind == "A_Const" and number is not None:
        at = number.get("ival")
        return at - 1 if isinstance(at, int) else None
    targets = select.trees("target_list")
    if len(targets) == len(names):
        for at, target in enumerate(targets):
            if target.tree("val") == key:
                return at
    fields = key.trees("fields")
    name = fields[-1].text("sval") if key.kind == "ColumnRef" and fields else ""
    return names.index(name) if name and list(names).count(name) == 1 else None


def compare_answers(before: Answer, after: Answer, order: Order) -> Sameness:
    """Whether the two are the same, as far as the question determines its answer."""
    if before.count != after.count:
        return Sameness(False, f"not the same rows: {before.count:,} before, {after.count:,} after")
    if not after.count:
        return Sameness(None, "both answers are empty, so no row was compared", 0)
    rows = f"{after.count:,} {'row' if after.count == 1 else 'rows'}"
    if before.total == after.total or (before.whole and after.whole and _alike(before.kept, after.kept)):
        return _ordered(before, after, order, rows)
    if order.limited and (open_rows := _open(before, after, order)):
        return Sameness(None, open_rows, after.count)
    other = sum((Counter(before.checksums) - Counter(after.checksums)).values())
    return Sameness(False, f"not the same rows: {other:,} of {rows} are others")


def _ordered(before: Answer, after: Answer, order: Order, rows: str) -> Sameness:
    if not order.ordered or before.checksums == after.checksums:
        return Sameness(True, f"same {rows}", after.count)
    if order.columns is None or not (before.whole and after.whole):
        return Sameness(True, f"same {rows}; their order could not be compared", after.count)
    if not _same_keys(before.kept, after.kept, order.columns):
        return Sameness(False, f"same {rows}, but not in the order that was asked for")
    return Sameness(True, f"same {rows}; rows that tie in ORDER BY came in another order", after.count)


def _open(before: Answer, after: Answer, order: Order) -> str | None:
    """What a LIMIT leaves open, if that explains the difference."""
    if not order.ordered:
        return "any rows do, for there is a LIMIT without ORDER BY: other rows came, as many"
    if order.columns is None or not (before.whole and after.whole):
        return None
    if not _same_keys(before.kept, after.kept, order.columns):
        return None
    last = _keys(before.kept[-1], order.columns)
    sure = [[row for row in answer.kept if _keys(row, order.columns) != last] for answer in (before, after)]
    first = [[row for row in answer.kept if _keys(row, order.columns) == last] for answer in (before, after)]
    if not _alike(*sure):
        # An OFFSET may cut through ties at its beginning as well.
        return None
    return (
        f"same {len(sure[0]):,} rows, then {len(first[0]):,} that tie at the LIMIT and might be others each time: "
        "let ORDER BY end with a column that tells rows apart"
    )


def _same_keys(one: Sequence[tuple[object, ...]], other: Sequence[tuple[object, ...]], columns: Sequence[int]) -> bool:
    return all(_equal(_keys(mine, columns), _keys(theirs, columns)) for mine, theirs in zip(one, other, strict=True))


def _keys(row: tuple[object, ...], columns: Sequence[int]) -> tuple[object, ...]:
    return tuple(row[at] for at in columns)


def _alike(one: Sequence[tuple[object, ...]], other: Sequence[tuple[object, ...]]) -> bool:
    """Whether the rows are the same in any order, the last digits of floating point numbers aside."""
    if len(one) != len(other):
        return False
    exact: Callable[[tuple[object, ...]], str] = _without_floats
    groups = Counter(map(exact, one))
    if groups != Counter(map(exact, other)):
        return False
    mine, theirs = (sorted(rows, key=lambda row: (exact(row), _floats(row))) for rows in (one, other))
    return all(_equal(a, b) for a, b in zip_longest(mine, theirs))


def _equal(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return all(_same_value(a, b) for a, b in zip(one, other, strict=True))


def _same_value(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=_FLOAT_TOLERANCE, abs_tol=_FLOAT_TOLERANCE)
    return _checksum((one,)) == _checksum((other,))


def _without_floats(row: tuple[object, ...]) -> str:
    return _checksum(tuple("float" if isinstance(value, float) else value for value in row))


def _floats(row: tuple[object, ...]) -> tuple[float, ...]:
    return tuple(value for value in row if isinstance(value, float))


def _checksum(row: tuple[object, ...]) -> str:
    try:
        return row_checksums((row,))[0]
    except NotComparable:
        # Ranges, points and the like: their own form tells them apart.
        return hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).hexdigest()
