"""What the advisor takes from production: bytes, seconds and locks; and what of production it must survive.

.venv-bench/bin/python bench/advisor/production.py [--scale 1] [--json FILE]

TPC-H is read for a shadow, advised on, and copied, while somebody counts bytes and looks into pg_locks; then the same
while every table is held in EXCLUSIVE mode, which lets nothing but AccessShare through, and once while ACCESS
EXCLUSIVE is held. At scale 1, the other database has 1,000 tables, and 100,000 statements are in pg_stat_statements.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import part
import tpc
from server import SETTINGS
from witness import Witness

from tercet import Tercet
from tercet.advisor import advise
from tercet.advisor.reading import read
from tercet.advisor.sandbox import copy
from tercet.advisor.shadow import shadow
from tercet.errors import TercetError
from tercet.sql import identifier
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from part import Answers, Options
    from server import Server

    from tercet.advisor import Advice

TABLES, STATEMENTS_A_TABLE = 1_000, 100
TABLES_QUICK = 20
# Room for all of them, and for what the server is asked besides.
KEPT = SETTINGS | {"pg_stat_statements.max": "150000", "pg_stat_statements.track": "top"}
# How often the statement is asked that matters among all the others.
HOT = 50
COLUMNS = 7
# TPC-H's statements that index advice is asked for; those three take hours without an index.
APART = (2, 17, 20)
# Longer than it may wait for a lock, and time for what it does before.
PATIENCE_SECONDS = 120.0


async def measure(options: Options) -> Answers:
    """On each server."""
    return await part.on_each(options, _on, KEPT)


async def _on(server: Server, options: Options) -> Answers:
    return {"tpch": await _tpch(server, options), "many": await _many(server, options)}


async def _tpch(server: Server, options: Options) -> Answers:
    url = await server.database("tpch")
    connection = await asyncpg.connect(url)
    try:
        statements = await tpc.fill(connection, "tpch", options.scale)
        text = ";\n".join(sql for number, sql in statements.items() if number not in APART)
        found: Answers = {"size_bytes": await connection.fetchval("select pg_database_size(current_database())")}
        async with Witness(server, url).standing() as witness, Tercet(postgres=witness.url) as db:
            found["shadow"] = await _shadow(witness, db)
            found["advise"] = await _advise(witness, db, text)
            found["copy"] = await _copy(witness, db)
            tables = [name for (name,) in await connection.fetch(_TABLES)]
            async with connection.transaction():
                await connection.execute(f"lock table {', '.join(tables)} in exclusive mode")
                found["under_exclusive"] = {
                    "advise": await _advise(witness, db, text), "copy": await _copy(witness, db)
                }  # fmt: skip
            async with connection.transaction():
                await connection.execute(f"lock table {identifier('lineitem')} in access exclusive mode")
                found["under_access_exclusive"] = await _advise(witness, db, text)
        return found
    finally:
        await connection.close()


_TABLES = "select tablename::text from pg_tables where schemaname = 'public'"


async def _shadow(witness: Witness, db: Tercet) -> Answers:
    async with witness.watching() as seen:
        catalog = await read(db.postgres)
        planner = await shadow(db.postgres, catalog)
    told = {
        "told_bytes": planner.read_bytes + catalog.read_bytes,
        "told_seconds": planner.read_seconds + catalog.read_seconds,
        "ready_seconds": planner.seconds,
    }
    await planner.close()
    print(f"shadow: {seen}", flush=True)
    return seen.answers() | told


async def _advise(witness: Witness, db: Tercet, text: str | None) -> Answers:
    """Quick advice; `ended` is how it ended."""
    ended: str | Advice
    async with witness.watching() as seen:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                ended = await advise(db, text, thorough=False)
        except TercetError as error:
            ended = f"{type(error).__name__}: {error}"
        except TimeoutError:
            ended = f"it did not end within {PATIENCE_SECONDS:.0f} s"
    print(f"advise: {seen}", flush=True)
    found = seen.answers() | {"ended": ended if isinstance(ended, str) else "advice"}
    if not isinstance(ended, str):
        engine = ended.engine
        found |= {
            "told_bytes": engine.read_bytes if engine else None,
            "told_seconds": engine.read_seconds if engine else None,
            "pieces": [list(one.ddl) for one in ended.pieces],
            "notes": list(ended.notes),
            "statements": len(ended.statements),
        }
    return found


async def _copy(witness: Witness, db: Tercet) -> Answers:
    catalog = await read(db.postgres)
    async with witness.watching() as seen:
        sandbox = await copy(db.postgres, catalog, list(catalog.tables))
    found = seen.answers() | {
        "ended": "copied", "told_bytes": sandbox.taken.bytes, "told_seconds": sandbox.taken.seconds,
        "sampled": sandbox.sampled, "bytes_a_second": seen.from_server_bytes / max(sandbox.taken.seconds, 1e-3),
    }  # fmt: skip
    await sandbox.close()
    print(f"copy: {seen}", flush=True)
    return found


async def _many(server: Server, options: Options) -> Answers:
    texts = _blocks()
    url = await server.database("many")
    connection = await asyncpg.connect(url)
    try:
        began = time.perf_counter()
        await connection.execute(texts["awkward"])
        count = max(TABLES_QUICK, round(TABLES * min(options.scale, 1.0)))
        await _fill(connection, texts, count)
        kept = await connection.fetchval(
            "select count(*) from pg_stat_statements where dbid = (select oid from pg_database where datname = 'many')"
        )
        print(f"{count} tables, {kept} statements, {time.perf_counter() - began:.0f} s", flush=True)
        found: Answers = {"tables": count, "kept_statements": kept}
        async with Witness(server, url).standing() as witness, Tercet(postgres=witness.url) as db:
            found["statistics"] = await _advise(witness, db, None)
            script = ";\n".join(texts[name] for name in ("errors", "hot", "odd", "unknown"))
            found["script"] = await _advise(witness, db, script)
        asked = {"hot": ("public", "hot"), "odd": ("Sales Dept", 'Or"der; --'), "unknown": ("public", "unknown")}
        found["counted_hot"] = await _built(connection, found["statistics"], [asked["hot"]])
        found["script_built"] = await _built(connection, found["script"], list(asked.values()))
        return found
    finally:
        await connection.close()


async def _fill(connection: asyncpg.Connection, texts: Mapping[str, str], tables: int) -> None:
    """So many tables, and of each so many statements that differ in more than their constants."""
    for at in range(tables):
        table = f"t{at:04}"
        await connection.execute(texts["many"].replace("{table}", table))
        sets = range(1, STATEMENTS_A_TABLE + 1)
        each = [[column for column in range(COLUMNS) if one >> column & 1] for one in sets]
        wheres = (" and ".join(f"c{one} = 1" for one in columns) for columns in each)
        await connection.execute(";".join(texts["asked"].format(table=table, where=where) for where in wheres))
    await connection.execute(texts["gone"])
    for _ in range(HOT):
        await connection.execute(texts["hot"])


async def _built(connection: asyncpg.Connection, advised: Answers, tables: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """For each of these tables: whether an index is advised that can be built as it is written."""
    found = {}
    for name in tables:
        dotted = ".".join(map(identifier, name))
        ddl = [one for piece in advised.get("pieces", ()) for one in piece if f" on {dotted} " in one]
        try:
            for one in ddl:
                await connection.execute(one)
            found[name[1]] = "built" if ddl else "nothing is advised"
        except asyncpg.PostgresError as error:
            found[name[1]] = str(error)
        for index in await connection.fetch(_OURS, *table_parts(name)):
            await connection.execute(f"drop index {index[0]}")
    return found


_OURS = (
    "select x.indexrelid::regclass::text from pg_index x join pg_class t on t.oid = x.indrelid "
    "join pg_namespace n on n.oid = t.relnamespace where n.nspname = $1 and t.relname = $2 and not x.indisprimary"
)


def _blocks() -> dict[str, str]:
    """The statements of production.sql by their names."""
    _, *parts = (Path(__file__).parent / "production.sql").read_text(encoding="utf-8").split("-- name: ")
    named = (one.partition("\n") for one in parts)
    return {name.strip(): body.strip() for name, _, body in named}


if __name__ == "__main__":
    part.main(__doc__, measure)
