"""SQLAlchemy statements as PostgreSQL is asked them: with $1, $2 … and the values that they carry."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.elements import CompilerElement

from tercet.advisor.workload.asked import Asked
from tercet.advisor.workload.postgres_recorder import said
from tercet.errors import SettingInvalid


def compiled(statement: object) -> Asked:
    """A statement as the program would send it; a parameter without a value stays one.

    Raises SettingInvalid for what is no statement, and for one that cannot be compiled.
    """
    shown = type(statement).__name__
    if not isinstance(statement, CompilerElement):
        wanted = "a Workload, a Recorder, SQL, or a list of SQL texts and SQLAlchemy statements"
        raise SettingInvalid("workload", where="advise()", shown=shown, wanted=wanted)
    try:
        # asyncpg's own dialect, which writes $1 and the type of each value.
        kind = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no types
        made = statement.compile(dialect=kind, compile_kwargs={"render_postcompile": True})
    except SQLAlchemyError as error:
        wanted = f"a statement that can be compiled ({str(error).splitlines()[0]})"
        raise SettingInvalid("workload", where="advise()", shown=shown, wanted=wanted) from error
    required = {name for name, bind in getattr(made, "binds", {}).items() if bind.required and bind.value is None}
    names = getattr(made, "positiontup", None) or ()
    values = [_NOTHING if name in required else made.params.get(name) for name in names]
    return Asked(str(made), values=said(str(made), values))


# A value that has no literal.
_NOTHING = object()
