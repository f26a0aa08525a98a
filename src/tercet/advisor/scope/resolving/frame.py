"""What names mean at one place of a query, while it is being resolved."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.scope.block import COLUMN, WHOLE_ROW, Reference, column, reference
from tercet.errors import SqlInvalid
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.scope.block import Block, Join, Place, Source, Sublink

# Every table has these; nothing else that stands in FROM does.
SYSTEM_COLUMNS = frozenset({"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"})


@dataclass(slots=True)
class Known:
    """A WITH query as far as its uses need it; inside of its own recursive text there is no block yet."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str | None, ...]
    block: Block | None


@dataclass(slots=True)
class Entry:
    """A name of FROM: a source's alias, or that of a join with columns of its own.

    `open` says whether its columns are found without it being named, `named` whether it can be named.
    """

    alias: str
    listed: Sequence[tuple[str, Tree]]
    schema: str = ""
    open: bool = True
    named: bool = True
    # The source, if it is one, and whether it is a table, or a function of unknown columns.
    source: int | None = None
    table: bool = False
    loose: bool = False
    columns: dict[str, Tree] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = dict(self.listed)

    def twice(self, name: str) -> bool:
        """Whether two of its columns have this name."""
        return len(self.columns) < len(self.listed) and sum(one == name for one, _ in self.listed) > 1


@dataclass(slots=True)
class Frame:
    """A block that is being resolved: its names so far, and what is found on the way."""

    catalog: Catalog
    path: tuple[str, ...]
    parent: Frame | None = None
    entries: list[Entry] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    nullable: set[int] = field(default_factory=set)
    sublinks: list[Sublink] = field(default_factory=list)
    aggregates: list[Tree] = field(default_factory=list)
    windows: list[Tree] = field(default_factory=list)
    named_windows: dict[str, Tree] = field(default_factory=dict)
    outer: set[Reference] = field(default_factory=set)
    # How often each WITH query is used, by the frame's own object, wherever inside that happens.
    uses: Counter[str] = field(default_factory=Counter)
    place: Place = "output"

    def cte(self, name: str) -> Known | None:
        """The WITH query of this name, here or further out; it is counted as used."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.known:
                frame.uses[name] += 1
                return frame.known[name]
            frame = frame.parent
        return None

    def resolve(self, tree: Tree) -> Tree:
        """The column that a ColumnRef means."""
        names = [one.text("sval") for one in tree.trees("fields") if one.kind == "String"]
        star = any(one.kind == "A_Star" for one in tree.trees("fields"))
        found = self._outwards(lambda frame: frame.row(names) if star else frame.local(names))
        if found is None and not star and len(names) == 1:
            # A table's name where a value is expected; else a column that only a function can have.
            found = self._outwards(lambda frame: frame.row(names)) or self._outwards(
                lambda frame: frame.loose(names[0])
            )
        if found is None:
            raise SqlInvalid(f'column "{".".join(names)}" does not exist')
        return found

    def _outwards(self, look: Callable[[Frame], Tree | None]) -> Tree | None:
        """What is found nearest, here or further out."""
        frame: Frame | None = self
        up = 0
        while frame is not None:
            found = look(frame)
            if found is not None:
                return self._seen(found, up)
            frame, up = frame.parent, up + 1
        return None

    def local(self, names: list[str]) -> Tree | None:
        """The column of these names among this block's own, if there is one."""
        if len(names) == 1:
            return self._unqualified(names[0])
        *places, name = names
        entry = self.entry(places)
        if entry is None:
            return None
        if entry.twice(name):
            raise SqlInvalid(f'column reference "{name}" is ambiguous')
        found = entry.columns.get(name)
        if found is None and entry.source is not None and (entry.loose or (entry.table and name in SYSTEM_COLUMNS)):
            found = column(entry.source, name, alias=entry.alias)
        if found is None:
            raise SqlInvalid(f"column {entry.alias}.{name} does not exist")
        return found

    def row(self, places: list[str]) -> Tree | None:
        """The whole row of the source of this name."""
        entry = self.entry(places)
        if entry is None:
            return None
        if entry.source is None:
            return Tree(
                "RowExpr", (("args", tuple(tree for _, tree in entry.listed)), ("row_format", "COERCE_EXPLICIT_CALL"))
            )
        return column(entry.source, WHOLE_ROW, alias=entry.alias)

    def star(self, places: list[str]) -> list[tuple[str, Tree]]:
        """The columns that a star stands for in a list of outputs."""
        if not places:
            if not any(entry.open for entry in self.entries):
                raise SqlInvalid("SELECT * with no tables specified is not valid")
            return [one for entry in self.entries if entry.open for one in entry.listed]
        frame: Frame | None = self
        up = 0
        while frame is not None:
            entry = frame.entry(places)
            if entry is not None:
                return [(name, self._seen(tree, up)) for name, tree in entry.listed]
            frame, up = frame.parent, up + 1
        raise SqlInvalid(f'missing FROM-clause entry for table "{".".join(places)}"')

    def _unqualified(self, name: str) -> Tree | None:
        found = [entry.columns[name] for entry in self.entries if entry.open and name in entry.columns]
        if len(found) > 1 or any(entry.open and entry.twice(name) for entry in self.entries):
            raise SqlInvalid(f'column reference "{name}" is ambiguous')
        if found:
            return found[0]
        if name in SYSTEM_COLUMNS:
            tables = [entry for entry in self.entries if entry.table]
            if len(tables) == 1 and tables[0].source is not None:
                return column(tables[0].source, name, alias=tables[0].alias)
        return None

    def loose(self, name: str) -> Tree | None:
        """The column of a function of which nobody knows the columns, if there is one such function."""
        found = [entry for entry in self.entries if entry.open and entry.loose and entry.source is not None]
        return column(found[0].source or 0, name, alias=found[0].alias) if len(found) == 1 else None

    def entry(self, places: list[str]) -> Entry | None:
        """The entry of an alias, or of a table's name with its schema."""
        *schemas, alias = places
        for entry in self.entries:
            if entry.named and entry.alias == alias and (not schemas or entry.schema == schemas[-1]):
                return entry
        return None

    def _seen(self, tree: Tree, up: int) -> Tree:
        """The column as it is named from here, `up` levels further in; every block between depends on it."""
        if up == 0:
            return tree

        def lifted(one: Tree) -> Tree:
            found = reference(one)
            if found is None:
                return one
            frame: Frame | None = self
            for level in range(up, 0, -1):
                if frame is None:
                    raise AssertionError(level)
                frame.outer.add(Reference(found.source, found.column, level))
                frame = frame.parent
            return one.replaced(up=up)

        return tree.mapped(lifted) if tree.kind != COLUMN else lifted(tree)
