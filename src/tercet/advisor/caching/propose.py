"""Which answers are worth keeping, by what was counted and measured."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from tercet.advisor.advice import CachePolicy
from tercet.advisor.caching.candidate import CacheCandidate, Figures
from tercet.advisor.caching.entry import entry, together
from tercet.advisor.caching.lineage import Unkept, check_same
from tercet.advisor.caching.lines import lines, setup
from tercet.errors import SqlInvalid
from tercet.sql.tree import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tercet.advisor.caching.entry import Entry, Followed
    from tercet.advisor.catalog import Catalog, Table
    from tercet.advisor.query import Query

# The layers as the cache names them, and their seconds.
LAYERS: Mapping[str, float] = MappingProxyType({"hot": 60.0, "warm": 300.0, "cold": 3_600.0, "persistent": 86_400.0})

# A read that the database answers as fast as Redis would gains nothing but another place to be wrong in.
WORTH_MS = 1.0
# Larger answers fill the memory of every process; the half of one is read in vain.
BYTES_MAX = 1_000_000.0
# Kept for less than every other reader, an answer costs more writes than it saves reads.
HITS_MIN = 0.5
# A shorter layer that finds nearly as much as the longest one is enough, and forgets sooner.
NEARLY = 0.95
# A rate of counters that nobody has ever reset: a day is taken for their age.
_SECONDS_UNKNOWN = 86_400.0
# Statements that are looked at, those of the most time: what comes after saves nothing.
READ_MAX = 300
# Values of a column of which nothing is known: the planner's own guess.
_DISTINCT_UNKNOWN = 200.0


def propose(queries: Sequence[Query], catalog: Catalog, *, seconds: float | None = None) -> tuple[CacheCandidate, ...]:
    """The statements whose answers are worth keeping, those that save most time first.

    `seconds` is how long the calls were counted (`Workload.seconds`).
    """
    found = []
    for query in sorted(queries, key=lambda one: -(one.total_ms or 0.0))[:READ_MAX]:
        try:
            found.append(_candidate(query, catalog, seconds))
        except Unkept:
            continue
    return tuple(sorted(found, key=lambda one: -one.figures.reads * one.figures.ms * one.figures.hits))


def why_not(query: Query, catalog: Catalog, *, seconds: float | None = None) -> str | None:
    """Why the answers of this statement are not to be kept; None if they are."""
    try:
        _candidate(query, catalog, seconds)
    except Unkept as error:
        return error.why
    return None


def _candidate(query: Query, catalog: Catalog, seconds: float | None) -> CacheCandidate:
    if query.ms is None:
        raise Unkept("nobody has measured how long it takes")
    if query.ms < WORTH_MS:
        raise Unkept(f"it takes {query.ms:.2f} ms: Redis would not be faster by much")
    try:
        trees = [parse(text) for text in dict.fromkeys(one.sql for one in query.examples) or [query.sql]]
    except SqlInvalid as error:
        raise Unkept(f"it cannot be read: {error.reason}") from error
    for tree in trees:
        check_same(tree)
    found = entry(together(trees), catalog, query.search_path)
    figures, layer = _figures(query, found, seconds)
    tags = tuple(dict.fromkeys(one.tag for one in found.followed))
    key = ":".join((found.name, *(f"{{{one.name}}}" for one in found.parameters)))
    policy = CachePolicy(query.fingerprint, layer, key, tags, lines(found, layer))
    return CacheCandidate(policy, _why(figures, layer), figures, setup(found), tuple(_conditions(found)))


def _figures(query: Query, found: Entry, seconds: float | None) -> tuple[Figures, str]:
    """What was counted, and the layer that it speaks for. Raises Unkept where it speaks against any."""
    ms = query.ms or 0.0
    size = max(query.rows if query.rows is not None else 1.0, 1.0) * found.width
    if size > BYTES_MAX:
        raise Unkept(f"one answer takes about {size / 1e6:.1f} MB")
    reads = query.calls / (seconds or _SECONDS_UNKNOWN)
    answers = min(_answers(found), max(query.calls, 1.0))
    writes = sum(_writes(one) for one in found.followed)
    each = reads / answers
    if each <= writes:
        raise Unkept(f"it changes as often as it is read: {writes:.3g} writes a second drop what {each:.3g} reads want")
    hits = {layer: each / (each + writes + 1 / ttl) for layer, ttl in LAYERS.items()}
    layer = next(name for name in LAYERS if hits[name] >= NEARLY * max(hits.values()))
    if hits[layer] < HITS_MIN:
        raise Unkept(f"only {hits[layer]:.0%} of its reads would find an answer kept")
    lifetime = min(1 / writes if writes else LAYERS[layer], LAYERS[layer])
    return Figures(reads, writes, ms, answers, size, hits[layer], lifetime), layer


def _answers(found: Entry) -> float:
    """How many different answers there are: one for each value of each parameter."""
    number = 1.0
    for one in found.parameters:
        number *= _distinct(one.table, one.column) if one.table is not None else 1.0
    return number


def _distinct(table: Table, column: str) -> float:
    known = table.column(column)
    rows = max(table.rows, 1.0)
    if table.primary_key == (column,):
        return rows
    if known is None or known.statistics is None or known.statistics.distinct == 0:
        return min(_DISTINCT_UNKNOWN, rows)
    return max(known.statistics.distinct if known.statistics.distinct > 0 else -known.statistics.distinct * rows, 1.0)


def _writes(one: Followed) -> float:
    """The writes a second that drop one answer: those of the table, shared out among the values of its tag."""
    activity = one.table.activity
    total = (activity.inserted + activity.updated + activity.deleted) / (activity.seconds or _SECONDS_UNKNOWN)
    shares = 1.0
    for column in one.columns:
        shares *= _distinct(one.table, column)
    return total / min(shares, max(one.table.rows, 1.0))


def _why(figures: Figures, layer: str) -> str:
    writes = f"{figures.writes:.3g} writes a second drop it" if figures.writes else "nothing has changed it"
    return (
        f"{figures.reads:.3g} reads a second of {figures.ms:.3g} ms, about {figures.answers:,.0f} answers of "
        f"{figures.bytes:,.0f} bytes; {writes}, so that {layer} ({LAYERS[layer]:.0f} s) answers {figures.hits:.0%} "
        f"of them and takes {figures.reads * figures.ms * figures.hits / 10:.2g} % of a core off the database"
    )


def _conditions(found: Entry) -> Iterator[str]:
    wide = [one.name for one in found.followed if not one.columns]
    if wide:
        yield f"any change of {', '.join(wide)} drops every answer: no key in the statement says which rows it concerns"
    unknown = [name for name, kind in found.columns if kind is None]
    if unknown:
        yield f"say the type of {', '.join(unknown)} where Any stands, unless plain data comes back"
    open_types = [one.name for one in found.parameters if one.type == "object"]
    if open_types:
        yield f"say the type of {', '.join(open_types)}"
