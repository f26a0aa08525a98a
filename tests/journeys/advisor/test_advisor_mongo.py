"""A MongoDB's slow queries taken to advice: tried on a sample, told in the same values, made and taken back."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bson import json_util
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from tercet.advisor.advice import Advice, MongoChange, Piece
from tercet.advisor.mongo import advise_mongo, apply, from_files, from_log, from_server, from_specs, undo
from tercet.advisor.mongo.shape import Command
from tercet.advisor.mongo.trial import Desk
from tercet.advisor.report import Kept, to_json, to_text
from tercet.errors import DocumentInvalid, UsageError

Database = AsyncDatabase[dict[str, Any]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
ORDERS, USERS = 10_000, 1_000


def _order(n: int) -> dict[str, Any]:
    # What is still open is all old, and lies anywhere: whoever walks by date for it looks into nearly everything.
    minutes = n * 7919 % ORDERS
    moment, status = BEGIN + timedelta(minutes=minutes), "open" if minutes < ORDERS // 5 else "done"
    return {
        "_id": n, "user_id": n % USERS, "status": status, "created_at": moment, "total": n % 97, "kind": "usual",
        "tags": [n % 7, n % 5],
        "more": [n % 3, n % 11], "shipping_address": {"country": "KR"}, "pad": "x" * 60,
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def production(servers: Any) -> AsyncIterator[Database]:
    """A shop with the faults of the usual recipes: nothing for the join, one index twice, one misspelled."""
    url = servers.mongo.replace("/tercet?", "/advisor_mongo?")
    async with AsyncMongoClient[dict[str, Any]](url, tz_aware=True) as client:
        database = client["advisor_mongo"]
        await database.orders.insert_many([_order(n) for n in range(ORDERS)])
        await database.users.insert_many([{"_id": f"u{n}", "userId": n, "name": f"n{n}"} for n in range(USERS)])
        await database.orders.create_index([("user_id", 1)])
        await database.orders.create_index([("user_id", 1), ("created_at", -1)])
        await database.orders.create_index([("shipping_adddess.country", 1)])
        yield database
        await client.drop_database("advisor_mongo")


NEWEST_OPEN = {
    "label": "newest open", "find": "orders", "filter": {"status": "open"}, "sort": {"created_at": -1}, "limit": 10,
    "calls": 50,
}  # fmt: skip
OF_A_USER = {"label": "of a user", "find": "orders", "filter": {"user_id": 7}, "sort": {"created_at": -1}}
ALL_DONE = {
    "label": "all done", "aggregate": "orders",
    "pipeline": [{"$match": {"kind": "usual"}}, {"$group": {"_id": "$tags", "pads": {"$max": "$pad"}}}],
}  # fmt: skip
JOINED = {
    "label": "joined", "aggregate": "orders",
    "pipeline": [
        {"$match": {"user_id": {"$lt": 40}, "created_at": {"$gte": BEGIN}}},
        {"$group": {"_id": "$user_id", "sum": {"$sum": "$total"}}},
        {"$lookup": {"from": "users", "localField": "_id", "foreignField": "userId", "as": "user"}},
        {"$addFields": {"score": {"$multiply": ["$sum", 2]}}},
        {"$sort": {"score": -1, "_id": 1}}, {"$limit": 5},
    ],
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def advice(production: Database) -> Advice:
    """What is said of four queries, asked once for all tests."""
    return await advise_mongo(production, workload=[NEWEST_OPEN, OF_A_USER, ALL_DONE, JOINED], thorough=False)


def _index_on(advice: Advice, table: str, first: str) -> Piece:
    return next(one for one in advice.pieces if one.kind == "index" and one.table == table and one.columns[0] == first)


async def test_a_slow_find_gets_an_index_that_serves_its_order(production: Database, advice: Advice) -> None:
    """Status, then the newest: ten documents are read instead of all; nothing was changed."""
    piece = _index_on(advice, "orders", "status")
    assert piece.columns[:2] == ("status", "created_at desc")
    (found,) = [one for one in advice.statements if one.label == "newest open"]
    assert piece.number in found.pieces
    assert found.proof is not None
    assert (found.proof.method, found.proof.same_rows) == ("sample", True)
    assert "10,000 → 10 documents read" in found.proof.sentence
    assert found.ms_before is not None
    assert found.ms_after is not None
    assert found.ms_after < found.ms_before
    assert piece.size_bytes > 0
    assert len([one async for one in await production.orders.list_indexes()]) == 4


async def test_a_join_gets_its_index_and_waits_for_the_limit(advice: Advice) -> None:
    """The foreign field is indexed, or the join moved behind the limit, or both."""
    (found,) = [one for one in advice.statements if one.label == "joined"]
    assert found.pieces
    assert found.proof is not None
    # The sort leaves no ties, and the sums are whole: the rows are the same ones.
    assert found.proof.same_rows is True
    kinds = {piece.kind for piece in advice.pieces if piece.number in found.pieces}
    assert kinds <= {"index", "rewrite"}
    assert kinds


async def test_what_has_its_index_or_can_have_none_is_left_alone(advice: Advice) -> None:
    """One has its index already; the other reads all there is, and an index by its condition would only harm it."""
    (served,) = [one for one in advice.statements if one.label == "of a user"]
    (whole,) = [one for one in advice.statements if one.label == "all done"]
    assert served.pieces == ()
    assert whole.pieces == ()
    assert whole.notes[0].startswith(("an index would harm: orders (kind)", "none of 1 indexes tried"))
    assert not any("kind" in one.columns for one in advice.pieces)


async def test_an_index_begun_by_another_and_a_misspelled_one_are_dropped(advice: Advice) -> None:
    """With the name that was meant, and the line that makes it again."""
    drops = {one.ddl[0]: one for one in advice.pieces if one.kind == "drop_index"}
    assert set(drops) == {
        'db.orders.dropIndex("user_id_1")',
        'db.orders.dropIndex("shipping_adddess.country_1")',
    }
    wrong = drops['db.orders.dropIndex("shipping_adddess.country_1")']
    assert "was shipping_address.country meant?" in wrong.why
    assert wrong.undo == (
        'db.orders.createIndex({"shipping_adddess.country": 1}, {name: "shipping_adddess.country_1"})',
    )


async def test_advice_is_shown_and_kept_like_any_other(advice: Advice) -> None:
    """As text, as JSON, and out of the file between two commands."""
    text = "\n".join("".join(part for part, _ in line) for line in to_text(advice))
    assert "orders (status, created_at desc" in text
    assert "Nothing was changed." in text
    assert json.dumps(to_json(advice))
    kept = Kept(advice, "localhost/shop", 1.0)
    assert Kept.from_bytes(kept.to_bytes()).advice == advice


async def test_a_piece_is_made_hidden_shown_and_taken_back(production: Database, advice: Advice) -> None:
    """Twice is fine, both ways; afterwards the indexes are those that were there before."""
    piece = _index_on(advice, "orders", "status")
    before = await production.orders.index_information()
    command = from_specs(NEWEST_OPEN).queries[0].command
    applied = await apply(production, piece, commands=[command])
    assert applied.done
    assert (applied.before[0].docs, applied.after[0].docs) == (ORDERS, 10)
    # What is shown already is in use, and is not hidden from anybody again.
    again = await apply(production, piece, commands=[command])
    assert (again.done, again.after) == (True, ())
    there = await production.orders.index_information()
    (name,) = set(there) - set(before)
    assert "hidden" not in there[name] or there[name]["hidden"] is False
    for _ in range(2):
        assert (await undo(production, piece)).done
    assert await production.orders.index_information() == before


async def test_an_index_that_makes_a_command_read_more_is_not_kept(production: Database, advice: Advice) -> None:
    """An index on a field that nearly every document has alike is taken away as soon as that shows."""
    command = from_specs({"find": "orders", "filter": {"status": "done"}}).queries[0].command
    piece = _index_on(advice, "orders", "status")
    before = await production.orders.index_information()
    applied = await apply(production, piece, commands=[command])
    assert not applied.done
    assert "keys and documents read" in applied.why
    assert await production.orders.index_information() == before


async def test_an_index_by_which_less_is_read_and_more_time_goes_is_not_kept(
    production: Database, advice: Advice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged by the commands that the advice was made for, and by the clock: both ways in turn, not by chance."""
    piece = _index_on(advice, "orders", "status")
    change = piece.value
    assert isinstance(change, MongoChange)
    assert [json_util.loads(one).get("find") for one in change.commands] == ["orders", "orders", None, None]
    before = await production.orders.index_information()

    async def slower(desk: Desk, _: Command) -> float:
        told = (await desk.database.orders.index_information()).get(change.name, {"hidden": True})
        return 10.0 if told.get("hidden") else 20.0

    monkeypatch.setattr(Desk, "wall_ms", slower)
    applied = await apply(production, piece)
    assert (applied.done, applied.why) == (False, f"{change.name} was taken away again: 10 ms → 20 ms")
    assert await production.orders.index_information() == before


async def test_an_index_that_is_missed_is_not_let_go(production: Database, advice: Advice) -> None:
    """It is hidden first, and shown again where something reads more without it."""
    piece = next(one for one in advice.pieces if one.kind == "drop_index" and "user_id" in one.columns)
    newest = from_specs({"find": "orders", "filter": {"user_id": 7}}).queries[0].command
    await production.orders.drop_index("user_id_1_created_at_-1")
    before = await production.orders.index_information()
    applied = await apply(production, piece, commands=[newest])
    assert not applied.done
    assert "was left: without it 20 → 10,000 keys and documents read" in applied.why
    assert await production.orders.index_information() == before
    await production.orders.create_index([("user_id", 1), ("created_at", -1)])
    for _ in range(2):
        assert (await apply(production, piece, commands=[newest])).done
    for _ in range(2):
        assert (await undo(production, piece)).done


async def test_another_index_of_that_name_is_not_touched(production: Database) -> None:
    """Also where only the order of its fields differs; and where there is no collection, there is nothing to undo."""
    change = MongoChange("elsewhere", "both", '{"key": {"a": 1, "b": 1}, "name": "both"}')
    piece = Piece("index", "", value=change)
    assert (await undo(production, piece)).done
    await production.elsewhere.create_index([("b", 1), ("a", 1)], name="both")
    for work in (apply, undo):
        with pytest.raises(UsageError, match="it is another one"):
            await work(production, piece)
    await production.drop_collection("elsewhere")


async def test_a_rewrite_cannot_be_carried_out_on_the_database(production: Database) -> None:
    """It is made in the program."""
    with pytest.raises(UsageError, match="rewrite"):
        await apply(production, Piece("rewrite", ""))


async def test_without_a_trial_the_rules_alone_are_told_as_such(production: Database) -> None:
    """Nothing is started, nothing is measured, and every piece says that it was not tried."""
    told = await advise_mongo(production, workload=[NEWEST_OPEN], verify="off")
    (piece,) = [one for one in told.pieces if one.kind == "index"]
    assert piece.columns == ("status", "created_at desc")
    assert piece.fragile
    assert "not tried" in piece.why
    assert told.engine is None


async def test_a_collection_alone_is_looked_at_for_its_indexes(production: Database) -> None:
    """No query is known, so only what the indexes themselves say."""
    told = await advise_mongo(production, collections=["orders"])
    assert {one.kind for one in told.pieces} == {"drop_index"}
    assert told.statements == ()
    assert await production.client.admin.command({"getParameter": 1, "quiet": 1})


async def test_two_arrays_cannot_be_indexed_together(production: Database) -> None:
    """The server says so on the sample, and nothing falls over."""
    asked = {"find": "orders", "filter": {"tags": 3, "more": 2}}
    told = await advise_mongo(production, workload=[asked], thorough=False)
    assert len(told.statements) == 1
    assert not any(set(one.columns) == {"tags", "more"} for one in told.pieces)


async def test_a_query_that_cannot_run_is_told_and_others_go_on(production: Database) -> None:
    """An unknown operator, a collection that is not there, and a good one."""
    wrong = {"find": "orders", "filter": {"total": {"$nonsense": 1}}}
    absent = {"find": "nowhere", "filter": {"a": 1}}
    told = await advise_mongo(production, workload=[wrong, absent, NEWEST_OPEN], thorough=False)
    notes = {one.label: " ".join(one.notes) for one in told.statements}
    assert "nonsense" in notes["orders.find total"]
    assert "nowhere" in notes["nowhere.find a"]
    assert _index_on(told, "orders", "status").ddl


async def test_the_profiler_is_read_and_never_switched(production: Database) -> None:
    """What it has kept becomes queries with their values; its level is as it was."""
    await production.command({"profile": 2})
    await production.orders.find({"total": 5}).sort("created_at", 1).to_list(3)
    await production.orders.find({"total": 6}).sort("created_at", 1).to_list(3)
    await production.orders.update_many({"total": -1}, {"$set": {"seen": True}})
    await (await production.orders.aggregate([{"$match": {"status": "open"}}, {"$count": "n"}])).to_list()
    await production.command({"profile": 0})
    workload = await from_server(production)
    assert workload.source == "system.profile"
    by = {query.label: query for query in workload.queries}
    finds = by["orders.find total, by created_at"]
    assert finds.calls == 2
    assert {one.filter["total"] for one in finds.examples} == {5, 6}
    assert by["orders.update total"].command.filter == {"total": -1}
    assert by["orders.aggregate $match $count"].ms is not None
    assert (await production.command({"profile": -1}))["was"] == 0
    await production.drop_collection("system.profile")


async def test_a_log_is_read_line_by_line_also_packed(tmp_path: Path) -> None:
    """Slow queries of the named database count; what is cut short or broken is told; getMore is no call of its own."""

    def entry(command: dict[str, Any], ms: int, **more: Any) -> str:
        attr = {"type": "command", "ns": "shop.orders", "command": command, "durationMillis": ms, **more}
        return json_util.dumps({"t": {"$date": "2025-01-01T00:00:00Z"}, "msg": "Slow query", "attr": attr})

    find = {"find": "orders", "filter": {"at": BEGIN, "n": {"$gt": 5}}, "$db": "shop"}
    lines = [
        entry(find, 100),
        entry({**find, "filter": {"at": BEGIN + timedelta(1), "n": {"$gt": 9}}}, 300),
        entry({"getMore": 5, "collection": "orders"}, 50, originatingCommand=find),
        entry(find, 100, ns="other.orders"),
        entry(find, 1, truncated={"command": {}}),
        '{"msg":"Slow query", broken',
        '{"msg":"Connection ended"}',
    ]
    packed = tmp_path / "mongod.log.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    workload = from_log([packed], database="shop")
    (query,) = workload.queries
    assert (query.calls, query.ms, len(query.examples)) == (2, 225.0, 2)
    assert query.command.filter["at"] == BEGIN
    assert len(workload.skipped) == 2


async def test_a_file_of_extended_json_is_read(tmp_path: Path) -> None:
    """A pipeline alone with its collection, or commands that say theirs; a broken one is told."""
    pipeline = tmp_path / "p.json"
    pipeline.write_text('[{"$match": {"at": {"$gte": {"$date": "2025-01-01T00:00:00Z"}}}}, {"$limit": 3}]')
    (query,) = from_files([pipeline], collection="orders").queries
    assert query.label == "p"
    assert query.command.pipeline[0]["$match"]["at"]["$gte"] == BEGIN
    pipeline.write_text("{")
    with pytest.raises(DocumentInvalid, match="extended JSON"):
        from_files([pipeline])
    with pytest.raises(UsageError, match="cannot be read"):
        from_files([tmp_path / "none.json"])
