"""The types of expressions, as far as they show without asking a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.scope.block import Block, reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tercet.advisor.scope.block import Source
    from tercet.sql.tree import Tree

# As format_type writes what the grammar calls by its inner name.
_NAMES = {
    "int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real", "float8": "double precision",
    "bool": "boolean", "bpchar": "character", "varchar": "character varying",
    "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
    "time": "time without time zone", "timetz": "time with time zone",
}  # fmt: skip


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names, with a number behind each that was there before."""
    found: dict[str, None] = {}
    for name in names:
        word, number = name, 1
        while word in found:
            number += 1
            word = f"{name}#{number}"
        found[word] = None
    return tuple(found)


def type_of(tree: Tree, sources: Sequence[Source]) -> str | None:
    """The type of a resolved expression, of a block with these sources; None where it does not show."""
    match tree.kind:
        case "Column":
            found = reference(tree)
            if found is None or found.up or not 0 <= found.source < len(sources):
                return None
            return sources[found.source].type(found.column)
        case "TypeCast":
            written = tree.tree("type_name")
            names = written.trees("names") if written is not None else ()
            if written is None or not names:
                return None
            word = names[-1].text("sval")
            return _NAMES.get(word, word) + "[]" * len([1 for one in written.trees("array_bounds")][:1])
        case "BoolExpr" | "NullTest" | "BooleanTest":
            return "boolean"
        case _:
            return None


def output_types(block: Block) -> tuple[str | None, ...]:
    """The types of a block's outputs, as far as they show."""
    if block.operation and block.operands:
        return output_types(block.operands[0])
    return tuple(type_of(one.tree, block.sources) for one in block.outputs)
