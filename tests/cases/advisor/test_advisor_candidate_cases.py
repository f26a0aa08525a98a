"""The case files: a schema, statements, and the indexes that are due for them or are not, one file a kind."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Candidate, Catalog, Example, Query
from tercet.advisor.candidates import CANDIDATES, doubles, kinds, propose
from tercet.advisor.reading import read
from tercet.sql import Statement

FOLDER = Path(__file__).parent / "candidates"
_BY_A = "r using btree (a)"
FILES = sorted(path for path in FOLDER.glob("*.toml") if path.stem != "housekeeping")


def _queries(texts: list[str]) -> list[Query]:
    return [Query(Statement(text), (Example(text),)) for text in texts]


def _shown(candidate: Candidate) -> str:
    """An index as the case files write it: unique orders using btree (a, b) include (c) where (d)."""
    index = candidate.index
    rest = index.create().partition(f"{index.qualified_table} ")[2].replace('"', "")
    return f"{'unique ' if index.unique else ''}{index.table[-1]} {rest}"


async def _catalog(url: str) -> Catalog:
    async with Tercet(postgres=url) as db:
        return await read(db.postgres)


async def _execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_each_kind_has_its_file_and_its_cases() -> None:
    """The tuple, the files and the case files are the same, and each is named like its kind."""
    files = {path.stem for path in Path(kinds.__file__).parent.glob("*.py")} - {"__init__"}
    assert {kind.name for kind in CANDIDATES} == files == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_statement_gets_the_indexes_that_are_due(postgres_url: str, path: Path) -> None:
    """Those of the case are proposed, the others are not, and the kind of the file has made one at least."""
    file = tomllib.loads(path.read_text(encoding="utf-8"))
    _run(_execute(postgres_url, file["schema"]))
    plain, made, wrong = _run(_catalog(postgres_url)), set(), []
    for case in file["case"]:
        catalog = plain
        if "before" in case:
            _run(_execute(postgres_url, case["before"]))
            catalog = _run(_catalog(postgres_url))
            _run(_execute(postgres_url, "drop index if exists there"))
        found = propose(_queries(case["statements"]), catalog)
        assert found == propose(_queries(case["statements"]), catalog), "two runs differ"
        shown = {_shown(one): one for one in found}
        made |= {one.kind for one in found}
        wrong += [f"{case['name']}: no {one!r} in {sorted(shown)}" for one in case.get("has", ()) if one not in shown]
        wrong += [f"{case['name']}: {one!r}" for one in case.get("lacks", ()) if one in shown]
        wrong += [f"{case['name']}: {sorted(shown)}" for _ in (1,) if case.get("none") and shown]
        wrong += [
            f"{case['name']}: {one!r} replaces {shown[one].replaces}"
            for one, replaced in case.get("replaces", {}).items()
            if shown[one].replaces != tuple(replaced)
        ]
        assert len({one.name for one in found}) == len(found)
        unsaid = [one.why for one in found if not all(part.strip() for part in one.why.split(";"))]
        wrong += [f"{case['name']}: a reason is missing in {why!r}" for why in unsaid]
    assert not wrong, "\n".join(wrong)
    assert path.stem in made


def test_an_index_has_its_reason_for_each_statement(postgres_url: str) -> None:
    """One that gives an order to one statement walks a range for another."""
    _run(_execute(postgres_url, "create table r (a int); insert into r select generate_series(1, 5000); analyze r"))
    ordered, ranged = _queries(["select * from r order by a limit 5", "select * from r where a between 7 and 9"])
    (index,) = [one for one in propose([ordered, ranged], _run(_catalog(postgres_url))) if _shown(one) == _BY_A]
    assert index.why_for([ordered.fingerprint]) == "gives the order by a, so that the first rows are there at once"
    assert index.why_for([ranged.fingerprint]) == "walks the range of a"
    assert index.why_for(["nobody"]) == index.why


def test_a_unique_candidate_is_proved_or_refuted_by_its_statement(postgres_url: str) -> None:
    """No row where all values differ; one row as soon as two are the same."""

    async def work() -> tuple[bool, bool]:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(
            "create table u (a text); insert into u select n::text from generate_series(1, 5000) n"
        )
        await connection.execute("insert into u values (null), (null)")
        assert await connection.fetch("select 1 from u group by a having count(*) > 1")  # NULLs are not the same
        await connection.execute("delete from u where a is null")
        await connection.execute("analyze u")
        found = propose(_queries(["select * from u where a = '7'"]), await _catalog(postgres_url))
        (unique,) = [one for one in found if one.kind == "unique"]
        proved = await connection.fetch(doubles(unique.index)) == []
        await connection.execute("insert into u values ('7')")
        refuted = await connection.fetch(doubles(unique.index)) != []
        await connection.close()
        return proved, refuted

    assert _run(work()) == (True, True)
