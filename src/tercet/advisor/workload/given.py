"""Statements that a program hands over: SQL texts, and SQLAlchemy's own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tercet.advisor.workload.asked import Asked
from tercet.advisor.workload.folding import Folding
from tercet.advisor.workload.script import GIVEN_TOP
from tercet.errors import ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tercet.advisor.query import Workload


def from_statements(statements: Iterable[object], *, source: str = "statements", top: int = GIVEN_TOP) -> Workload:
    """The statements of a list, each asked once; a text is one statement.

    SQLAlchemy's are compiled as they would be sent, with their values. Raises SettingInvalid for what is neither,
    ExtraMissing without SQLAlchemy.
    """
    folding = Folding()
    for one in statements:
        folding.add(Asked(one) if isinstance(one, str) else _compile()(one))
    return folding.workload(source, top=top, share=1.0)


def _compile() -> Callable[[object], Asked]:
    try:
        edge = import_module("tercet.advisor.workload.postgres_compiled")
    except ImportError as error:
        raise ExtraMissing("Reading SQLAlchemy's statements", module="sqlalchemy", extra="postgres") from error
    made: Callable[[object], Asked] = edge.compiled
    return made
