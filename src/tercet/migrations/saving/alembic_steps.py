"""What a saved revision carries with it: its functions are copied as they stand here, so that it needs only Alembic."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic import op
from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator


def _run(statement: str) -> None:
    """Run one statement as it is written, or write it down where --sql asks for that."""
    if op.get_context().as_sql:
        op.get_context().impl.static_output(f"{statement};\n")
    else:
        op.execute(text(statement.replace(":", r"\:")))


def _rows(question: str, **values: str) -> list[Any]:
    return list(op.get_bind().execute(text(question), values).all())


@contextmanager
def _timeouts(lock: str, statement: str) -> Iterator[None]:
    """Other timeouts for the block; what was set before holds again afterwards."""
    ours = {"lock_timeout": lock, "statement_timeout": statement}
    if op.get_context().as_sql:
        before = dict.fromkeys(ours, "default")
    else:
        before = {name: f"'{_rows(f'show {name}')[0][0]}'" for name in ours}
    for name, value in ours.items():
        _run(f"set {name} = '{value}'")
    yield
    for name, value in before.items():
        _run(f"set {name} = {value}")


@contextmanager
def _patient() -> Iterator[None]:
    """Statements that stand alone and take what they take, but block nobody.

    CONCURRENTLY waits for old transactions, and a lock_timeout counts that as waiting
    for a lock: it would end the build and leave an invalid index.
    """
    with op.get_context().autocommit_block(), _timeouts("0", "0"):
        yield


def _found(schema: str, index: str) -> Any:
    """Whether an index of this name is valid, and how the server writes it down."""
    found = _rows(
        "select i.indisvalid, pg_get_indexdef(i.indexrelid) from pg_index i where i.indexrelid = to_regclass(:name)",
        name=_name(schema, index),
    )
    return found[0] if found else None


def _name(schema: str, index: str) -> str:
    return f"{schema}.{index}" if schema else index


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _essence(definition: str) -> tuple[bool, str]:
    """What an index is, without its name and its table's."""
    head, _, rest = definition.partition(" USING ")
    return head.startswith("CREATE UNIQUE"), rest


def _wanted(table: str, body: str, kind: str) -> tuple[bool, str]:
    """How the server would write the index down, asked on an empty copy of the table."""
    _run("drop table if exists pg_temp.tercet_copy")
    _run(f"create temporary table tercet_copy (like {table} including generated)")
    _run(f"create {kind} tercet_copy_index on pg_temp.tercet_copy {body}")
    found = _found("pg_temp", "tercet_copy_index")
    _run("drop table pg_temp.tercet_copy")
    return _essence(found[1])


def _build(
    schema: str,
    index: str,
    table: str,
    body: str,
    unique: bool = False,
    analyze: bool = False,
    comment: str = "",
) -> None:
    """Build an index while its table is read and written, or find it there.

    What a failed build has left under its name is dropped; another index of that name
    is an error. With --sql nobody can be asked: a name that is taken is an error there.
    """
    kind = "unique index" if unique else "index"
    with _patient():
        if not op.get_context().as_sql and _partitioned(table):
            _build_parts(schema, index, table, body, kind)
        else:
            _build_one(schema, index, table, body, kind)
        if comment:
            said = comment.replace("'", "''")
            _run(f"comment on index {_name(schema, index)} is '{said}'")
        if analyze:
            _run(f"analyze {table}")


def _build_one(schema: str, index: str, table: str, body: str, kind: str) -> None:
    found = None if op.get_context().as_sql else _found(schema, index)
    if found and found[0]:
        if _essence(found[1]) != _wanted(table, body, kind):
            raise RuntimeError(f"{index} exists and is another index: {found[1]}")
        return
    if found:
        _run(f"drop index concurrently {_name(schema, index)}")
    _run(f"create {kind} concurrently {index} on {table} {body}")


def _partitioned(table: str) -> bool:
    question = "select relkind = 'p' from pg_class where oid = to_regclass(:name)"
    return any(row[0] for row in _rows(question, name=table))


def _build_parts(schema: str, index: str, table: str, body: str, kind: str) -> None:
    """Build it in every partition, then join the parts, all at once and in a moment."""
    found = _found(schema, index)
    if found and _essence(found[1]) != _wanted(table, body, kind):
        raise RuntimeError(f"{index} exists and is another index: {found[1]}")
    if found and found[0]:
        return
    if found:
        with _timeouts("5s", "0"):
            _run(f"drop index {_name(schema, index)}")
    parts = _rows(
        "select n.nspname, c.relname, c.relkind::text, p.nspname, p.relname"
        " from pg_partition_tree(to_regclass(:name)) t"
        " join pg_class c on c.oid = t.relid"
        " join pg_namespace n on n.oid = c.relnamespace"
        " join lateral (select pn.nspname, pc.relname from pg_class pc"
        "   join pg_namespace pn on pn.oid = pc.relnamespace"
        "   where pc.oid = t.parentrelid) p on true"
        " where c.relkind in ('r', 'p') order by t.level, n.nspname, c.relname",
        name=table,
    )
    root = _rows(
        "select n.nspname, c.relname from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where c.oid = to_regclass(:name)",
        name=table,
    )[0]
    names = {tuple(root): index}
    joining = [f"create {kind} {index} on only {table} {body}"]
    for space, part, relkind, *parent in parts:
        own = _quoted(_part_name(index, part))
        names[space, part] = own
        whole = f"{_quoted(space)}.{_quoted(part)}"
        if relkind == "p":
            joining.append(f"create {kind} {own} on only {whole} {body}")
        else:
            _build_one(_quoted(space), own, whole, body, kind)
        above = _name(_quoted(parent[0]), names[tuple(parent)])
        own = _name(_quoted(space), own)
        joining.append(f"alter index {above} attach partition {own}")
    steps = " ".join("execute '" + one.replace("'", "''") + "';" for one in joining)
    with _timeouts("5s", "0"):
        _run(f"do $tercet$ begin {steps} end $tercet$")


def _part_name(index: str, part: str) -> str:
    """The index's name in a partition; what is too long for PostgreSQL is told apart by digits."""
    room = 63
    whole = f"{part}_{index[1:-1].replace(chr(34) * 2, chr(34))}"
    if len(whole.encode()) <= room:
        return whole
    digits = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole.encode()[: room - 9].decode(errors='ignore')}_{digits}"


def _drop(schema: str, index: str, table: str) -> None:
    """Drop an index while its table is read and written; none is fine too."""
    with _patient():
        if not op.get_context().as_sql and _partitioned(table):
            # There is no CONCURRENTLY for these: readers wait, but for a moment only.
            with _timeouts("5s", "0"):
                _run(f"drop index if exists {_name(schema, index)}")
        else:
            _run(f"drop index concurrently if exists {_name(schema, index)}")


def _rebuild(schema: str, index: str) -> None:
    """Build a broken index anew in its place."""
    with _patient():
        _run(f"reindex index concurrently {_name(schema, index)}")


def _make_view(view: str, query: str, mark: str) -> None:
    """Make and fill a materialized view, or find the same one there."""
    if not op.get_context().as_sql:
        found = _rows(
            "select coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class c where c.oid = to_regclass(:name)",
            name=view,
        )
        if found and found[0][0] != mark:
            raise RuntimeError(f"{view} exists and is another one")
        if found:
            return
    _run("set local statement_timeout = 0")
    _run(f"create materialized view {view} as\n{query}\nwith data")
    _run(f"comment on materialized view {view} is '{mark}'")


def _make_rollup(make: str, state: str, served: str, following: str, fill: str, finish: str) -> None:
    """Make a rollup: its triggers first, then what was there before, range by range."""
    with _patient():
        _run(make)
        if op.get_context().as_sql:
            _run(_range(fill, None, None, "null"))
            _run(finish)
            return
        filled, low = _answer(state)
        if filled == "ready":
            return
        if _answer(served)[0]:
            while True:
                high = _answer(_range(following, low, None, "false"))[0]
                _run(_range(fill, low, high, "false"))
                if high is None:
                    break
                low = high
            _run(_range(fill, None, None, "true"))
        else:
            _run(_range(fill, None, None, "null"))
        _run(finish)


def _range(statement: str, low: str | None, high: str | None, nulls: str) -> str:
    ends = {"<low>": low, "<high>": high}
    for end, value in ends.items():
        quoted = "null" if value is None else "'" + value.replace("'", "''") + "'"
        statement = statement.replace(end, quoted)
    return statement.replace("<nulls>", nulls)


def _answer(question: str) -> Any:
    """The one row that answers a question."""
    return op.get_bind().execute(text(question.replace(":", r"\:"))).all()[0]


def _drop_view(view: str) -> None:
    """Drop a materialized view with its indexes; none is fine too."""
    _run("set local lock_timeout = '5s'")
    _run(f"drop materialized view if exists {view}")


def _analyze(table: str) -> None:
    """Let the planner know what is in it."""
    with _patient():
        _run(f"analyze {table}")
