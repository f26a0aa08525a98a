"""TPC-H and TPC-DS, made by DuckDB's extensions and copied into PostgreSQL."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb

from tercet.sql import identifier

if TYPE_CHECKING:
    import asyncpg

HERE = Path(__file__).parent
Which = Literal["tpch", "tpcds"]
_GENERATORS = {"tpch": "dbgen", "tpcds": "dsdgen"}


async def fill(connection: asyncpg.Connection, which: Which, scale: float) -> dict[int, str]:
    """Make the tables and their rows, and give the statements by number, with the parameters of the standard."""
    lake = duckdb.connect()
    # Both extensions lie in this release's wheel: nothing is fetched.
    lake.execute("set autoinstall_known_extensions = false")
    lake.execute(f"load {which}")
    lake.execute(f"call {_GENERATORS[which]}(sf = {scale})")
    tables = lake.execute("select table_name, sql from duckdb_tables() order by table_name").fetchall()
    if which == "tpch":
        # DuckDB has its own types for these: keys of eight bytes, and texts without a length.
        await connection.execute((HERE / "tpch.sql").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for table, definition in tables:
            if which == "tpcds":
                await connection.execute(definition)
            path = Path(folder) / f"{table}.csv"
            lake.execute(f"copy {identifier(table)} to '{path}' (format csv, header false)")
            await connection.copy_to_table(table, source=path, format="csv")
            path.unlink()
    await connection.execute("vacuum analyze")
    asked = f"select query_nr, query from {which}_queries() order by query_nr"  # noqa: S608 - one of two words
    texts = lake.execute(asked).fetchall()
    return {number: text.strip().rstrip(";") for number, text in texts}
