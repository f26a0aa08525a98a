"""PostgreSQL's own grammar, through the package postgast: what a text is, and which tables it touches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import postgast
from google.protobuf.message import DecodeError, Message

from tercet.errors import SqlInvalid
from tercet.sql.tokens import too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator

# Fields that hold the table that a statement of this kind changes; all others are read.
_TARGETS = {
    "InsertStmt": "relation",
    "UpdateStmt": "relation",
    "DeleteStmt": "relation",
    "MergeStmt": "relation",
    "TruncateStmt": "relations",
    "IntoClause": "rel",
    "CreateStmt": "relation",
    "ViewStmt": "view",
    "RefreshMatViewStmt": "relation",
    "IndexStmt": "relation",
    "AlterTableStmt": "relation",
    "RenameStmt": "relation",
    "CreateTrigStmt": "relation",
}
_OBJECTS = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})


class Look(NamedTuple):
    """All that can be told of one statement by its text."""

    text: str
    fingerprint: str
    normalized: str
    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def look(text: str) -> tuple[Look, ...]:
    """Every statement in a text. Raises SqlInvalid, with the place in characters."""
    return tuple(_look(one.strip()) for one in _split(text))


def _split(text: str) -> list[str]:
    if "\0" in text:  # the grammar is C, and would end its reading there
        raise SqlInvalid("a NUL character", position=text.index("\0") + 1)
    try:
        return list(postgast.split(text))
    except postgast.PgQueryError as error:
        raise SqlInvalid(error.message, position=error.cursorpos or None) from error


def _look(text: str) -> Look:
    if too_deep(text):
        raise SqlInvalid("it is nested more deeply than can be read")
    try:
        tree = postgast.parse(text)
    except DecodeError as error:
        raise SqlInvalid("it is nested more deeply than can be read") from error
    info = postgast.classify_statement(tree)
    action = info.action if info is not None else "OTHER"
    kind = action if info is None or info.object_type is None else f"{action} {info.object_type}"
    tables = list(_tables(tree))
    reads = dict.fromkeys(name for name, written in tables if not written)
    writes = dict.fromkeys(name for name, written in tables if written)
    return Look(
        text,
        postgast.fingerprint(text).hex,
        postgast.normalize(text),
        kind.lower(),
        tuple(reads),
        tuple(writes),
    )


class _Step(NamedTuple):
    """A part of the tree, the names that hide tables from it, and whether it names what is written."""

    node: Message
    hidden: frozenset[str] = frozenset()
    written: bool = False


def _tables(tree: Message) -> Iterator[tuple[str, bool]]:
    """(table, is it written) in the tree's order; names of WITH queries are no tables where they hold."""
    waiting = [_Step(tree)]
    while waiting:
        step = waiting.pop()
        match step.node.DESCRIPTOR.name:
            case "RangeVar":
                name = _name(step.node)
                if step.written or name not in step.hidden or step.node.schemaname:
                    yield name, step.written
            case "LockingClause":  # FOR UPDATE OF names what FROM has named already
                pass
            case "DropStmt":
                yield from _dropped(step.node)
            case kind:
                waiting.extend(reversed(list(_below(step, kind))))


def _below(step: _Step, kind: str) -> Iterator[_Step]:
    """The parts of one part: its WITH first, for what that names holds in the others."""
    node, hidden = step.node, step.hidden
    if hasattr(node, "with_clause") and node.HasField("with_clause"):
        recursive = node.with_clause.recursive
        queries = [_opened(query) for query in node.with_clause.ctes]
        if recursive:
            hidden |= {query.ctename for query in queries}
        for query in queries:
            yield _Step(query, hidden)
            hidden |= {query.ctename}
    target = "relation" if kind == "CopyStmt" and node.is_from else _TARGETS.get(kind)
    for field, value in node.ListFields():
        if field.message_type is None or field.name == "with_clause":
            continue
        for part in value if field.is_repeated else (value,):
            yield _Step(_opened(part), hidden, field.name == target)


def _opened(node: Message) -> Message:
    """What is in a Node, which only wraps."""
    return postgast.unwrap_node(node)


def _dropped(node: Message) -> Iterator[tuple[str, bool]]:
    info = postgast.classify_statement(_wrapped(node))
    if info is None or info.object_type not in _OBJECTS:
        return
    for item in getattr(node, "objects", ()):
        parts = [str(getattr(_opened(part), "sval", "")) for part in getattr(_opened(item), "items", ())]
        yield ".".join(_shown(part) for part in parts), True


def _wrapped(node: Message) -> postgast.pg_query_pb2.Node:
    wrapper = postgast.pg_query_pb2.Node()
    wrapper.drop_stmt.CopyFrom(node)
    return wrapper


def _name(node: Message) -> str:
    parts = (getattr(node, "schemaname", ""), getattr(node, "relname", ""))
    return ".".join(_shown(str(part)) for part in parts if part)


def _shown(part: str) -> str:
    """A part of a name as one would type it: quoted only where it must be."""
    plain = part.isidentifier() and part == part.lower() and part.isascii()
    return part if plain else '"' + part.replace('"', '""') + '"'
