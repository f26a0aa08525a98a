"""What a check has found: a value with its mend."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tercet.router.plan import Field

Level = Literal["error", "warning"]

# What values of PostgreSQL's type categories (pg_type.typcategory) can be made into; a type that is not here is not
# judged: only a load would tell.
_CATEGORIES: dict[type[Any], str] = {int: "N", float: "N", Decimal: "N", bool: "B", str: "SEU"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an entity declares and its store does not have so; an error makes loads fail, a warning may."""

    level: Level
    entity: str
    source: str
    says: str
    mend: str

    def __str__(self) -> str:
        return f"{self.entity}, {self.source}: {self.says} {self.mend}"


def found(level: Level, field: Field, source: str, says: str, mend: str) -> Finding:
    """A finding about one field."""
    return Finding(level, field.entity, source, f"{field.name} {says}", mend)


def fits(kind: Any, category: str) -> bool:
    """Whether a column of this category can hold what a field of this type shows."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return True
    wanted = _CATEGORIES.get(kind) if isinstance(kind, type) else None
    # A domain or an extension's type (category U) is judged by nobody but a load.
    return wanted is None or category in wanted or category == "U"
