"""Where a field lives: what stands behind it in a class, as values without any driver."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from tercet.errors import EntityInvalid, TercetError
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tercet.router.key import Conversion
    from tercet.telemetry.event import Store

RedisKind = Literal["hash", "string", "number", "set", "json"]

# Kinds that are never missing: a counter that nobody has counted is 0, a set without members is empty.
NEVER_MISSING: frozenset[RedisKind] = frozenset({"number", "set"})

# Kinds that are counted and added to where they are: a save would undo what others did meanwhile.
NOT_SAVED: frozenset[RedisKind] = frozenset({"number", "set"})


@dataclass(frozen=True, slots=True, eq=False)
class InTable:
    """A column of a table."""

    column: Any
    key: Any
    required: bool | None
    stale: float | None
    store: Store = "postgres"

    @property
    def table(self) -> Any:
        """SQLAlchemy's Table."""
        return self.column.table

    @property
    def place(self) -> str:
        """The table, as people write it."""
        table = self.table
        return f"{table.schema}.{table.name}" if table.schema else str(table.name)

    @property
    def group(self) -> Hashable:
        """What is read by one query."""
        return ("postgres", self.place, self.key.name)

    @property
    def part(self) -> str:
        """What of it is taken."""
        return str(self.column.name)

    @property
    def conversion(self) -> Conversion | None:
        """How its key is made: as it is, for its type is known."""
        return None


@dataclass(frozen=True, slots=True)
class InDocument:
    """A document, or what lies at a path in it."""

    collection: str
    on: str
    field: str | None
    conversion: Conversion | None
    required: bool | None
    stale: float | None
    store: Store = "mongo"

    @property
    def place(self) -> str:
        """The collection."""
        return self.collection

    @property
    def group(self) -> Hashable:
        """What is read by one query."""
        return ("mongo", self.collection, self.on, self.conversion)

    @property
    def part(self) -> str:
        """What of it is taken."""
        return self.field or ""


@dataclass(frozen=True, slots=True)
class InRedis:
    """A key of Redis, or one field of a hash."""

    kind: RedisKind
    template: str
    field: str | None
    conversion: Conversion | None
    required: bool | None
    stale: float | None
    store: Store = "redis"

    @property
    def place(self) -> str:
        """The template of its name."""
        return self.template

    @property
    def group(self) -> Hashable:
        """What is read by one command a key."""
        return ("redis", self.kind, self.template, self.conversion)

    @property
    def part(self) -> str:
        """What of it is taken."""
        return self.field or ""


Declared: TypeAlias = InTable | InDocument | InRedis


@dataclass(frozen=True, slots=True)
class Refused:
    """A declaration that cannot be; said where the class stands, with the field's name."""

    reason: str
    mend: str


def postgres(
    column: object, *, key: object = None, required: bool | None = None, stale: str | float | None = None
) -> Any:  # the type of the field is what its annotation says, as with dataclasses.field
    """A column of a SQLAlchemy model, `User.name`, found by the model's primary key unless `key=` names another column.

    `required=False` lets a field that may be None degrade, `required=True` forbids it; without it, a source whose
    fields all may be None may degrade. `stale="1h"` shows what was last read here, where the store does not answer.
    """
    found = _column(column)
    if found is None:
        return Refused(
            f"{column!r} is no column of a table", "Give a mapped column such as User.name, or a Column of a Table."
        )
    by = _key_column(found) if key is None else _column(key)
    if by is None:
        table = found.table.name
        return Refused(
            f"the table {table!r} has no primary key of one column",
            "Say which column finds its row: postgres(…, key=User.id). Composite keys are not supported.",
        )
    if by.table is not found.table:
        return Refused("its key is a column of another table", "Name a key column of the field's own table.")
    return InTable(found, by, required, _stale(stale))


def mongo(
    collection: str,
    *,
    on: str,
    key: Conversion | None = None,
    field: str | None = None,
    required: bool | None = None,
    stale: str | float | None = None,
) -> Any:  # as above
    """The document of a collection whose field `on` is the key, or what lies in it at the path `field`.

    `key=str` converts the entity's key to the type that the collection has; it is declared here, once. For
    `required` and `stale` see `postgres`.
    """
    for name, value in (("collection", collection), ("on", on), ("field", field)):
        if value is not None and (problem := _path_problem(value)):
            return Refused(f"{name}={value!r} {problem}", "Name a collection, and fields as in 'address.city'.")
    if not _converts(key):
        return Refused(f"key={key!r} converts nothing", "Give a type or a function: key=str.")
    return InDocument(collection, on, field, key, required, _stale(stale))


class RedisDeclarations:
    """What can lie under a key of Redis: `redis.hash("user:status:{key}")`; each is read by one command a key."""

    __slots__ = ()

    def hash(
        self,
        template: str,
        *,
        field: str | None = None,
        key: Conversion | None = None,
        required: bool | None = None,
        stale: str | float | None = None,
    ) -> Any:  # as above
        """A hash as a whole, or one field of it; texts become what the field's type says."""
        return _in_redis("hash", template, field, key, required, stale)

    def string(
        self,
        template: str,
        *,
        key: Conversion | None = None,
        required: bool | None = None,
        stale: str | float | None = None,
    ) -> Any:  # as above
        """A string: text, or what the field's type makes of it; bytes as they are."""
        return _in_redis("string", template, None, key, required, stale)

    def number(
        self,
        template: str,
        *,
        key: Conversion | None = None,
        required: bool | None = None,
        stale: str | float | None = None,
    ) -> Any:  # as above
        """A counter; one that nobody has counted is 0."""
        return _in_redis("number", template, None, key, required, stale)

    counter = number

    def set_members(
        self,
        template: str,
        *,
        key: Conversion | None = None,
        required: bool | None = None,
        stale: str | float | None = None,
    ) -> Any:  # as above
        """The members of a set; one that is not there is empty."""
        return _in_redis("set", template, None, key, required, stale)

    def json(
        self,
        template: str,
        *,
        key: Conversion | None = None,
        required: bool | None = None,
        stale: str | float | None = None,
    ) -> Any:  # as above
        """A string that holds JSON."""
        return _in_redis("json", template, None, key, required, stale)


redis = RedisDeclarations()


def _in_redis(
    kind: RedisKind,
    template: str,
    field: str | None,
    key: Conversion | None,
    required: bool | None,
    stale: str | float | None,
) -> InRedis | Refused:
    problem = _template_problem(template)
    if problem:
        return Refused(
            problem, "Write the key as in redis.hash('user:status:{key}'); braces that are meant are {{ and }}."
        )
    if not _converts(key):
        return Refused(f"key={key!r} converts nothing", "Give a type or a function: key=str.")
    return InRedis(kind, template, field, key, required, _stale(stale))


def _template_problem(template: object) -> str | None:
    if not isinstance(template, str):
        return f"the template {template!r} is no text"
    try:
        holes = [(name, form, turn) for _, name, form, turn in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        return f"{template!r} is no template: {error}"
    other = next((name for name, form, turn in holes if name != "key" or form or turn), None)
    if other is not None:
        return f"the template {template!r} names {other!r}, and only {{key}} is known here"
    return None if holes else f"the template {template!r} has no {{key}}, so all would share one"


def _path_problem(path: object) -> str | None:
    if not isinstance(path, str) or not path:
        return "is no name"
    if "\0" in path or any(not part or part.startswith("$") for part in path.split(".")):
        return "has an empty part, or one that begins with $"
    return None


def _converts(key: object) -> bool:
    return key is None or callable(key)


def _stale(text: str | float | None) -> float | None:
    return None if text is None else seconds(text)


def _column(found: object) -> Any:
    """The column of a table behind a model's attribute or a Table's column; None for anything else."""
    columns = getattr(getattr(found, "property", None), "columns", None)
    column = columns[0] if isinstance(columns, list | tuple) and len(columns) == 1 else found
    table = getattr(column, "table", None)
    whole = all(hasattr(column, name) for name in ("name", "type", "primary_key"))
    return column if whole and table is not None and hasattr(table, "primary_key") else None


def _key_column(column: Any) -> Any:
    columns = list(column.table.primary_key.columns)
    return columns[0] if len(columns) == 1 else None


def in_table(what: str, column: object) -> InTable:
    """The column that was given; raises EntityInvalid for what is none."""
    found = postgres(column)
    if isinstance(found, Refused):
        raise refuse(what, found)
    return cast("InTable", found)


def refuse(what: str, declared: Refused) -> TercetError:
    """The error for what could not be declared so."""
    return EntityInvalid(what, reason=declared.reason, mend=declared.mend)
