"""The SQL that makes and keeps a rollup, for a server whose types and version are known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.rollups.blocks import blocks
from tercet.rollups.kept.content import contents, counted
from tercet.rollups.kept.rollup import beside, parent_columns
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tercet.rollups.kept.rollup import Rollup, Stored
    from tercet.sql.identifier import Name

# From here on a unique index can count NULLs as equal.
NULLS_NOT_DISTINCT_MAJOR = 15

EVENTS = ("insert", "delete", "update", "truncate")
FUNCTIONS = (*EVENTS, "merge", "replace", "differ", "next")

BLOCKS = ("tercet.rollups.kept", "kept.sql")


@dataclass(frozen=True, slots=True)
class Statements:
    """What is said to the server for one rollup; `types` are those of its columns, as the server writes them."""

    rollup: Rollup
    types: Mapping[str, str]
    major: int

    def kept(self) -> Iterator[str]:
        """Makes the table of its groups whole, and the log beside it."""
        sql, names = blocks(*BLOCKS), _names(self)
        yield sql["kept_whole"].format_map(names)
        if self.major >= NULLS_NOT_DISTINCT_MAJOR:
            yield sql["kept_key"].format_map(names)
        else:
            yield sql["kept_key_before_15"].format_map(names)
            yield sql["kept_lookup_before_15"].format_map(names)
        if self.rollup.way == "delta":
            yield sql["log"].format_map(names)

    def functions(self) -> Iterator[str]:
        """Makes, or makes anew, the functions that keep it."""
        sql, names, way = blocks(*BLOCKS), _names(self), self.rollup.way
        added, removed = sql["added"].format_map(names), sql["removed"].format_map(names)
        moves = {"insert": added, "delete": removed, "update": f"{added} union all {removed}"}
        for event, rows in moves.items():
            delta = sql["delta"].format_map({**names, "moves": rows})
            if way == "delta":
                body = sql["append"].format_map({**names, "delta": delta})
            else:
                body = _apply(sql, names, before="", delta=delta, forget="")
            yield _function(sql["trigger_function"], names, event, body)
        emptied = "\n".join((sql["emptied"], sql[f"emptied_{way}"].format_map(names)))
        yield _function(sql["trigger_function"], names, "truncate", emptied)
        if way == "delta":
            before, _, delta = sql["unmerged"].format_map(names).removeprefix("with ").partition("\n)\n")
            body = _apply(sql, names, before=f"{before}\n),\n", delta=delta, forget=sql["forget"].format_map(names))
            yield _function(sql["merge_function"], names, "merge", body)
        yield _function(sql["replace_function"], names, "replace", sql[f"replace_{way}"].format_map(names))
        held = {"held": sql[f"held_{way}"].format_map(names)}
        yield _function(sql["differ_function"], {**names, **held}, "differ", "")
        yield _function(sql["next_function"], names, "next", "")

    def triggers(self, table: str) -> Iterator[str]:
        """Lets the functions be called by what is written to this table: the rollup's own, or a part of it."""
        for event in EVENTS:
            trigger = self.rollup.beside(event)
            named = {"trigger": identifier(_last(trigger)), "function": identifier(trigger), "target": table}
            yield blocks(*BLOCKS)[f"on_{event}"].format_map(named)

    def call(self, function: str) -> str:
        """Calls one of its functions that takes a range, or `next`, or `merge`."""
        block = f"call_{function}" if function in {"next", "merge"} else "call"
        named = {"function": identifier(self.rollup.beside(function)), "type": self.types[self.rollup.first]}
        return blocks(*BLOCKS)[block].format_map(named)

    def view(self) -> str:
        """Makes the view under which it is read."""
        sql, names, rollup = blocks(*BLOCKS), _names(self), self.rollup
        exact = rollup.way == "delta" and rollup.exact
        groups = sql["groups_exact"].format_map(names) if exact else names["kept"]
        named = {**names, "groups": groups, "shown": ", ".join(_shown(rollup))}
        parent = rollup.parent
        if parent is None:
            return sql["view"].format_map(named)
        named |= {
            "parent": identifier(parent.table),
            "parent_key": identifier(parent.key),
            "parent_by": identifier(rollup.first),
            "join": "left join" if parent.keep else "join",
            "parent_where": f"({parent.where})" if parent.where else "true",
        }
        return sql["view_parent"].format_map(named)


def functions_of(rollup: Rollup) -> tuple[str, ...]:
    """Those of its functions that it has."""
    return tuple(one for one in FUNCTIONS if one != "merge" or rollup.way == "delta")


def kept_table(rollup: Rollup) -> str:
    """Makes the table of its groups, empty, with the types that the server gives to its columns."""
    return blocks(*BLOCKS)["kept"].format_map(names_of(rollup))


def probes(rollup: Rollup) -> tuple[str, str]:
    """What fails where a key or the condition depends on more than the row."""
    sql, names = blocks(*BLOCKS), names_of(rollup)
    probed = ", ".join(f"({of})" for of in rollup.keys.values())
    return sql["probe"].format_map(names), sql["probe_index"].format_map({**names, "probed": probed})


def drops(name: Name) -> tuple[str, ...]:
    """Takes the rollup of this name away: its view, its functions with their triggers, its tables."""
    functions, tables = (
        ", ".join(identifier(beside(name, one)) for one in some) for some in (FUNCTIONS, ("kept", "log"))
    )
    return (
        f"drop view if exists {identifier(name)}",
        f"drop routine if exists {functions} cascade",
        f"drop table if exists {tables}",
    )


def definition(rollup: Rollup) -> str:
    """All that makes it what it is, as one text: two of equal texts are the same."""
    parent = rollup.parent
    joined = (parent.table, parent.key, parent.keep, dict(parent_columns(parent)), parent.where) if parent else None
    return f"{kept_table(rollup)}\n{', '.join(_shown(rollup))}\n{joined}\n{rollup.way} {rollup.exact}"


def _function(block: str, names: Mapping[str, str], what: str, body: str) -> str:
    """A function of this block; its text is quoted by a word that does not occur in it."""
    filled = block.format_map({**names, "function": names[f"function_{what}"], "body": body, "tag": "\0"})
    digits = hashlib.sha256(filled.encode()).hexdigest()[:16]
    return filled.replace("\0", f"$tercet_{digits}$")


def _apply(sql: Mapping[str, str], names: Mapping[str, str], *, before: str, delta: str, forget: str) -> str:
    counted = ", (select count(*) from tercet_taken)" if before else ""
    into = {"counted": counted, "counted_into": ", tercet_lines" if before else ""}
    filled = sql["apply"].format_map({**names, **into, "before": before, "delta": delta})
    if names["stale"] == "false":
        return filled
    return f"{filled}\n{sql['recount'].format_map({**names, 'forget': forget})}"


def names_of(rollup: Rollup) -> dict[str, str]:
    """What can be said of the table's rows before any type is known."""
    keys = {identifier(name): of for name, of in rollup.keys.items()}
    contents = [f"{counted(kind, of)} as {identifier(name)}" for (kind, of), name in rollup.stored.items()]
    return {
        "table": identifier(rollup.table),
        "kept": identifier(rollup.place),
        "log": identifier(rollup.log),
        "view": rollup.qualified,
        "where": f"({rollup.where})" if rollup.where else "true",
        "keys": ", ".join(keys),
        "keys_k": ", ".join(f"k.{name}" for name in keys),
        "keys_of_row": ", ".join(f"({of}) as {name}" for name, of in keys.items()),
        "key_expressions": ", ".join(f"({of})" for of in keys.values()),
        "key_columns": ", ".join(keys),
        "key_arrays": ", ".join(f"(array[{name}])" for name in keys),
        "first_key": f"({next(iter(keys.values()))})",
        "contents_of_rows": ", ".join(contents),
    }


def _names(known: Statements) -> dict[str, str]:
    """Everything that the braces of kept.sql stand for."""
    rollup, first = known.rollup, identifier(known.rollup.first)
    return {
        **names_of(rollup),
        **_contents(known),
        **_same(rollup),
        "type": known.types[rollup.first],
        "conflict": ", ".join(
            identifier(key) if known.major >= NULLS_NOT_DISTINCT_MAJOR else f"(array[{identifier(key)}])"
            for key in rollup.keys
        ),
        "range_of_row": _range(f"({next(iter(rollup.keys.values()))})"),
        "range_of_kept": _range(f"k.{first}"),
        "range_of_log": _range(f"l.{first}"),
        "range_of_m": _range(f"m.{first}"),
        "range_of_h": _range(f"h.{first}"),
        "key_index": identifier(_last(rollup.beside("kept_key"))),
        "lookup_index": identifier(_last(rollup.beside("kept_lookup"))),
        **{f"function_{what}": identifier(rollup.beside(what)) for what in FUNCTIONS},
    }


def _contents(known: Statements) -> dict[str, str]:
    """The lists over what is stored of a group."""
    all_of_it, keys = contents(known.rollup, known.types), [identifier(name) for name in known.rollup.keys]
    names = [one.name for one in all_of_it]
    rows = next(one.name for one in all_of_it if one.kind == "rows")
    stale = [one.stale for one in all_of_it if one.stale]
    needs_delta = any(not one.additive for one in all_of_it)
    return {
        "contents": ", ".join(names),
        "columns": ", ".join((*keys, *names)),
        "contents_added": ", ".join(one.added for one in all_of_it),
        "contents_removed": ", ".join(one.removed for one in all_of_it),
        "contents_summed": ", ".join(one.summed for one in all_of_it),
        "contents_cast": ", ".join(one.cast for one in all_of_it),
        "contents_zero": ", ".join(one.zero for one in all_of_it),
        "contents_negative": ", ".join(f"-{one.name}" for one in all_of_it),
        "contents_k": ", ".join(f"k.{name}" for name in names),
        "contents_excluded": ", ".join(f"excluded.{name}" for name in names),
        "contents_true": ", ".join(one.true for one in all_of_it),
        "truth_columns": ", ".join(f"t.{name}" for name in names),
        "columns_put": ", ".join(f"d.{name}" for name in (*keys, *names)),
        "columns_moved": ", ".join(one.moved for one in all_of_it),
        "columns_excluded": ", ".join(f"{name} = excluded.{name}" for name in names),
        "columns_true": ", ".join(f"{one.name} = {one.true}" for one in all_of_it),
        "matters": " or ".join(one.matters for one in all_of_it),
        "empty": " and ".join(one.empty for one in all_of_it),
        "stale": " or ".join(stale) or "false",
        "unequal": " or ".join(one.unequal for one in all_of_it),
        "rows_summed": f"sum(m.{rows})",
        "not_null": ", ".join(f"alter {one.name} set not null" for one in all_of_it if one.kind in {"rows", "count"}),
        "log_columns": ", ".join(
            [f"{identifier(key)} {known.types[key]}" for key in known.rollup.keys]
            + [f"{one.name} {one.type}" for one in all_of_it]
        ),
        "with_delta": f" left join tercet_delta d on {_equal(known.rollup, 'm', 'd')}" if needs_delta else "",
    }


def _same(rollup: Rollup) -> dict[str, str]:
    """The ways to say that two are of one group."""
    return {
        "same_h_t": _equal(rollup, "h", "t"),
        "same_l_k": _equal(rollup, "l", "k"),
        # As two conditions, each of which an index of the table may serve.
        "same_group": " and ".join(
            f"(({of}) = tercet_k.{identifier(key)} or (({of}) is null and tercet_k.{identifier(key)} is null))"
            for key, of in rollup.keys.items()
        ),
    }


def _equal(rollup: Rollup, one: str, other: str) -> str:
    return " and ".join(f"array[{one}.{identifier(key)}] = array[{other}.{identifier(key)}]" for key in rollup.keys)


def _range(of: str) -> str:
    return (
        f"((tercet_nulls is null or ({of} is null) = tercet_nulls) and (tercet_low is null or {of} > tercet_low)"
        f" and (tercet_high is null or {of} <= tercet_high))"
    )


def _shown(rollup: Rollup) -> Iterator[str]:
    """The columns of the view: g are the groups, p their parents."""
    parent = rollup.parent
    for number, key in enumerate(rollup.keys):
        of = f"p.{identifier(parent.key)}" if parent and not number else f"g.{identifier(key)}"
        yield f"{of} as {identifier(key)}"
    for name, column in (parent_columns(parent) if parent else {}).items():
        yield f"p.{identifier(column)} as {identifier(name)}"
    for name, one in rollup.measures.items():
        kind: Stored = "rows" if not one.sql else "sum" if one.kind == "avg" else one.kind
        column = f"g.{identifier(rollup.stored[kind, one.sql])}"
        if one.kind == "avg":
            count = identifier(rollup.stored["count", one.sql])
            column = f"{column}::numeric / nullif(g.{count}, 0)"
        elif one.kind == "count" and parent is not None and parent.keep:
            column = f"coalesce({column}, 0)"
        yield f"{column} as {identifier(name)}"


def _last(name: Name) -> str:
    return name if isinstance(name, str) else name[-1]
