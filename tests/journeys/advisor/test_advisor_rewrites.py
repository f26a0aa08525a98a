"""Each rule against its cases, and each case against a real server: what is equal stays, what is not is refuted."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tercet import Tercet
from tercet.advisor import Catalog
from tercet.advisor.equivalence import check
from tercet.advisor.reading import read
from tercet.advisor.rewrites import RULES
from tercet.advisor.rewrites.facts import Facts
from tercet.advisor.rewrites.rewriting import applied
from tercet.sql.tree import parse, write

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests/cases/advisor/rewrites"


class Credulous(Facts):
    """Believes whatever a rule would like to be true."""

    def __getattribute__(self, name: str) -> Any:
        """Every question is answered with yes."""
        return (
            (lambda *_: True) if hasattr(Facts, name) and not name.startswith("_") else super().__getattribute__(name)
        )


@pytest.fixture(scope="module")
def url(servers: Any) -> Iterator[str]:
    """A database with the cases' tables."""
    name = "advisor_rewrites"
    servers.run(servers.administer(servers.postgres, f"create database {name}"))
    yield servers.postgres.rpartition("/")[0] + f"/{name}"
    servers.run(servers.administer(servers.postgres, f"drop database if exists {name} with (force)"))


@pytest.fixture(scope="module")
def catalog(servers: Any, url: str) -> Catalog:
    """The catalog of the cases' tables, which are gone again: the database is empty."""

    async def look() -> Catalog:
        async with Tercet(postgres=url) as db:
            async with db.postgres.transaction() as connection:
                for statement in (CASES / "schema.sql").read_text(encoding="utf-8").split(";")[:-1]:
                    await connection.exec_driver_sql(statement)
            found = await read(db.postgres)
            async with db.postgres.transaction() as connection:
                await connection.exec_driver_sql("drop table users, orders, profiles, parts")
            return found

    found: Catalog = servers.run(look())
    return found


def _cases(rule: str) -> list[dict[str, str]]:
    cases: list[dict[str, str]] = tomllib.loads((CASES / f"{rule}.toml").read_text(encoding="utf-8"))["case"]
    return cases


def test_every_rule_has_its_file_its_cases_and_its_section() -> None:
    """No rule without cases of both kinds and a section of the page, and neither of them without its rule."""
    names = {rule.name for rule in RULES}
    files = {path.stem for path in (ROOT / "src/tercet/advisor/rewrites/rules").glob("*.py")} - {"__init__", "keyset"}
    page = (ROOT / "docs/reference/rewrites.md").read_text(encoding="utf-8")
    sections = {line.removeprefix("### ").strip("` ") for line in page.splitlines() if line.startswith("### ")}
    assert names == files == {path.stem for path in CASES.glob("*.toml")} == sections - {"keyset"}
    for name in names:
        assert {"after", "left_alone"} <= {key for case in _cases(name) for key in case}, name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_a_rule_does_what_its_cases_say(rule: Any, catalog: Catalog) -> None:
    """The text that comes of it is the case's, or nothing where the condition is not proved."""
    for case in _cases(rule.name):
        made = [write(tree) for tree, _ in applied(rule, parse(case["before"]), catalog, Facts())]
        assert made == ([write(parse(case["after"]))] if "after" in case else []), case["name"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_what_a_rule_writes_answers_the_same(rule: Any, catalog: Catalog, url: str) -> None:
    """On all generated data both answer alike, and they answer something."""
    async with Tercet(postgres=url) as db:
        for case in _cases(rule.name):
            if "after" in case:
                found = await check(case["before"], case["after"], catalog, db.postgres, seeds=13)
                assert (found.outcome, found.why) == ("same", ""), (case["name"], found)
                assert found.rows > 0, case["name"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_a_rule_that_believes_everything_is_found_out(rule: Any, catalog: Catalog, url: str) -> None:
    """Without its condition a rule writes another question, and rows are found that show it."""
    async with Tercet(postgres=url) as db:
        for case in _cases(rule.name):
            if "wrong" not in case and "after" in case:
                continue
            wrong = case.get("wrong") or _believed(rule, case["before"], catalog)
            found = await check(case["before"], wrong, catalog, db.postgres)
            assert found.outcome == "refuted", (case["name"], wrong, found)


def _believed(rule: Any, before: str, catalog: Catalog) -> str:
    made = [write(tree) for tree, _ in applied(rule, parse(before), catalog, Credulous())]
    assert made, f"{rule.name} leaves it alone whatever it believes: give the case a `wrong`"
    return made[0]
