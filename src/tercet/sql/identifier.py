"""Names as PostgreSQL reads them: always quoted, so that no name is ever taken for a word of the language."""

from __future__ import annotations

from tercet.errors import SchemaInvalid

# NAMEDATALEN - 1: PostgreSQL silently cuts what is longer, and two long names could become one.
NAME_BYTES_MAX = 63

# A type of its own in signatures: "orders", or ("shop", "orders") for a table in a schema.
Name = str | tuple[str, ...]


def identifier(*parts: Name) -> str:
    """The quoted form of a name: identifier("orders"), identifier("shop", "orders") or of a tuple.

    Case is kept, as PostgreSQL keeps it inside quotes. A dot inside a part belongs to the name.
    Raises SchemaInvalid for a name that is empty, holds a NUL, or is longer than 63 bytes.
    """
    names = [name for part in parts for name in ((part,) if isinstance(part, str) else part)]
    if not names:
        raise SchemaInvalid("A name", reason="it has no part", mend="Give the name of a table or column.")
    return ".".join(_quoted(name) for name in names)


def table_parts(table: Name) -> tuple[str, ...]:
    """The one or two parts of a table's name; a dot in a plain text is refused, for it may mean either."""
    if isinstance(table, str):
        if "." in table:
            schema, _, name = table.partition(".")
            raise SchemaInvalid(
                f"The table {table!r}",
                reason="its dot may separate a schema or belong to the name",
                mend=f"Write ({schema!r}, {name!r}) for a schema, or ({table!r},) for a name with a dot.",
            )
        table = (table,)
    if len(table) not in {1, 2}:
        raise SchemaInvalid(
            f"The table {table!r}", reason="it should have one or two parts", mend="Write (schema, table)."
        )
    identifier(table)
    return table


def literal(text: str) -> str:
    """A text as a value in SQL: a string that means the same whatever standard_conforming_strings says."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def _quoted(name: str) -> str:
    if not isinstance(name, str):
        raise SchemaInvalid(f"The name {name!r}", reason="it is no text", mend="Give a str.")
    if not name:
        raise SchemaInvalid("A name", reason="it is empty", mend="Give it at least one character.")
    if "\0" in name:
        raise SchemaInvalid(f"The name {name!r}", reason="it holds a NUL character", mend="Leave that out.")
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        mend = "Give text that UTF-8 can carry."
        raise SchemaInvalid(f"The name {name!r}", reason="half a surrogate pair is in it", mend=mend) from error
    if length > NAME_BYTES_MAX:
        raise SchemaInvalid(
            f"The name {name!r}",
            reason=f"it has {length} bytes, and PostgreSQL cuts names after {NAME_BYTES_MAX}",
            mend="Choose a shorter one.",
        )
    return '"' + name.replace('"', '""') + '"'
