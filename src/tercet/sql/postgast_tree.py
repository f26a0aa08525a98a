"""postgast's messages turned into trees, and trees into messages."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import postgast
from google.protobuf.message import DecodeError, Message

from tercet.errors import SqlInvalid
from tercet.sql.tokens import too_deep
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

    from tercet.sql.tree import One, Part

# Where in the text something stood; two trees are compared without.
_PLACES = frozenset(
    {"location", "stmt_location", "stmt_len", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end"}
)


def tree(text: str) -> Tree:
    """The tree of one statement. Raises SqlInvalid."""
    if "\0" in text:  # the grammar is C, and would end its reading there
        raise SqlInvalid("a NUL character", position=text.index("\0") + 1)
    if too_deep(text):
        raise SqlInvalid("it is nested more deeply than can be read")
    try:
        found = postgast.parse(text).stmts
    except postgast.PgQueryError as error:
        raise SqlInvalid(error.message, position=error.cursorpos or None) from error
    except DecodeError as error:
        raise SqlInvalid("it is nested more deeply than can be read") from error
    if len(found) != 1:
        raise SqlInvalid(f"{len(found)} statements where one was expected" if found else "no statement")
    return _read(found[0].stmt)


def written(tree: Tree) -> str:
    """The SQL of a statement, or of an expression."""
    if not tree.kind.endswith("Stmt"):
        head = Tree("SelectStmt", (("target_list", (Tree("ResTarget", (("val", tree),)),)),))
        return written(head).removeprefix("SELECT ")
    result = postgast.pg_query_pb2.ParseResult()
    _fill(result.stmts.add().stmt, tree)
    return str(postgast.deparse(result))


def _read(message: Message) -> Tree:
    if message.DESCRIPTOR.name == "Node":
        inside = message.WhichOneof("node")
        return _read(getattr(message, inside)) if inside else Tree("Null")
    parts = tuple(
        (field.name, _part(field, value)) for field, value in message.ListFields() if field.name not in _PLACES
    )
    return Tree(message.DESCRIPTOR.name, parts)


def _part(field: FieldDescriptor, value: Any) -> Part:
    if field.is_repeated:
        return tuple(_one(field, item) for item in value)
    return _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> One:
    if field.message_type is not None:
        return _read(value)
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    return value  # type: ignore[no-any-return]  # a word, a number or a yes, as the message has it


def _fill(message: Message, tree: Tree) -> None:
    """Write a tree into an empty message of its kind, or into a Node around one."""
    if message.DESCRIPTOR.name == "Node":
        if tree.kind == "Null":
            return
        message = getattr(message, _wrappers()[tree.kind])
    message.SetInParent()
    fields = message.DESCRIPTOR.fields_by_name
    for name, part in tree.parts:
        field = fields[name]
        values = part if isinstance(part, tuple) else (part,)
        for value in values:
            if isinstance(value, Tree):
                _fill(getattr(message, name).add() if field.is_repeated else getattr(message, name), value)
            elif field.is_repeated:
                getattr(message, name).append(_plain(field, value))
            else:
                setattr(message, name, _plain(field, value))


def _plain(field: FieldDescriptor, value: One) -> Any:
    return field.enum_type.values_by_name[value].number if field.enum_type is not None else value


@cache
def _wrappers() -> dict[str, str]:
    """The field of a Node by the kind of message that it wraps."""
    fields = postgast.pg_query_pb2.Node.DESCRIPTOR.fields
    return {field.message_type.name: field.name for field in fields if field.message_type is not None}
