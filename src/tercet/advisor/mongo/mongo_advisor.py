"""Advice for one MongoDB database: indexes and rewrites tried on a sample in a mongod of our own."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bson import json_util
from pymongo.errors import PyMongoError

from tercet.advisor.advice import Advice, Engine, MongoChange
from tercet.advisor.mongo import rules
from tercet.advisor.mongo.candidates import Candidate, Drop, misspelled, propose, redundant, unused
from tercet.advisor.mongo.choice import Draft, Form, Proved, Tried, Trying, prove, spread
from tercet.advisor.mongo.mongo_reading import Standing, read
from tercet.advisor.mongo.parsing.access import accesses
from tercet.advisor.mongo.shape import MongoWorkload
from tercet.advisor.mongo.telling import Found, tell
from tercet.advisor.mongo.trial import Desk, Throwaway, copy
from tercet.advisor.mongo.trial.mongo_desk import spoken
from tercet.advisor.mongo.trial.mongo_server import client
from tercet.advisor.mongo.workload import from_files, from_server, from_specs
from tercet.units import size_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.advisor.mongo.index import MongoIndex
    from tercet.advisor.mongo.shape import Document, Query
    from tercet.advisor.port import Progress

MongoVerification = Literal["sample", "on", "off"]

# Candidates that are built at most: each takes some tenths of a second, and the first ones come from the heaviest.
_TRIED_MAX = 80
_TRIED_QUICK = 16
# Commands by which an index is judged on the real database, and characters of one: a list of thousands is left out.
_COMMANDS_MAX = 60
_COMMAND_CHARS = 32_000
_QUESTION_MS = 5_000
_DATABASE = "sample"


@dataclass(frozen=True, slots=True)
class _Wishes:
    budget_bytes: int | None
    thorough: bool
    progress: Progress


async def advise_mongo(
    database: AsyncDatabase[dict[str, Any]],
    *,
    workload: MongoWorkload | Sequence[Document] | Document | Path | None = None,
    collections: Collection[str] | None = None,
    budget: str | int | None = None,
    thorough: bool = True,
    verify: MongoVerification = "sample",
    on_progress: Progress | None = None,
) -> Advice:
    """What would make these queries of MongoDB faster, priced and proved; nothing is changed.

    `workload` is what `from_log`, `from_files` or `from_specs` has made, documents for `from_specs`, a file, or None
    for what the server has counted. `collections` leaves out what is asked of others; without any workload their
    indexes alone are looked at. `budget` bounds what new indexes take together. "sample" tries everything on a sample
    in a mongod of our own; "off" only reasons. "on" is as "sample": what is proved on the real one must be built
    there, hidden, which `apply` does.

    Raises ServerMissing (no mongod on this machine), SettingInvalid, DocumentInvalid, and what PyMongo raises.
    """
    progress = on_progress or (lambda _what, _done, _all: None)
    bytes_ = size_bytes(budget) if isinstance(budget, str) else budget
    wishes = _Wishes(bytes_, thorough, progress)
    progress("reading what is asked", 0, 0)
    asked = await _workload(database, workload, collections)
    names = set(collections or ()) | {
        access.collection for query in asked.queries for access in accesses(query.command)
    }
    progress("reading the indexes", 0, 0)
    standing = await read(database, names or None)
    if verify == "off" or not asked.queries:
        found = _reasoned(asked, standing, wishes)
    else:
        found = await _tried(database, asked, standing, wishes)
    found.drops = _drops(standing, asked.queries, [one.candidate.index for one in found.proved.picked])
    found.budget_bytes, found.notes = bytes_, (*found.notes, *standing.notes)
    return tell(found, partial(_change, asked))


async def _workload(
    database: AsyncDatabase[dict[str, Any]],
    given: MongoWorkload | Sequence[Document] | Document | Path | None,
    collections: Collection[str] | None,
) -> MongoWorkload:
    only = next(iter(collections)) if collections is not None and len(collections) == 1 else ""
    match given:
        case None:
            return await from_server(database, collections)
        case Path():
            asked = from_files([given], collection=only)
        case MongoWorkload():
            asked = given
        case _:
            asked = from_specs(given, collection=only)
    if collections is None:
        return asked
    return replace(asked, queries=tuple(one for one in asked.queries if one.collection in collections))


def _reasoned(asked: MongoWorkload, standing: Standing, wishes: _Wishes) -> Found:
    """By rule alone: the first candidate of each walk that no index serves yet."""
    drafts = [Draft(query, [Form(query.examples)]) for query in asked.queries]
    served: set[tuple[str, str]] = set()
    taken: list[Candidate] = []
    if wishes.budget_bytes is None:
        for one in propose(asked.queries, standing.indexes):
            places = {(name, one.index.collection) for name in one.helps}
            known = standing.indexes.get(one.index.collection, ())
            if not places <= served and one.index.plain and not any(one.index.begins(other) for other in known):
                taken.append(one)
            served |= places
    return Found(asked, drafts, Proved(), reasoned=_longest(taken))


def _longest(taken: Sequence[Candidate]) -> list[Candidate]:
    """Without those with which another one begins."""
    return [one for one in taken if not any(one.index.begins(other.index) for other in taken
                                            if other.index.collection == one.index.collection)]  # fmt: skip


async def _tried(
    database: AsyncDatabase[dict[str, Any]], asked: MongoWorkload, standing: Standing, wishes: _Wishes
) -> Found:
    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        wishes.progress("starting a mongod of our own", 0, 0)
        server = await stack.enter_async_context(await Throwaway.start())
        local = await stack.enter_async_context(client(server.url))
        trial = local[_DATABASE]
        copied, notes = await copy(database, trial, asked.queries, on_progress=wishes.progress)
        await _same_engine(database, local.admin, asked)
        trying = Trying(Desk(trial), copied, thorough=wishes.thorough)
        drafts = [await trying.draft(query) for query in asked.queries]
        for draft in drafts:
            await _rewrite(database, trying, draft, standing)
        candidates = _candidates(drafts, standing)[: _TRIED_MAX if wishes.thorough else _TRIED_QUICK]
        tried: tuple[Tried, ...] = await trying.all_of(candidates, drafts, wishes.progress)
        proved = await prove(trying, drafts, tried, wishes.budget_bytes, wishes.progress)
    taken = sum(one.bytes for one in copied.values())
    parts = ", ".join(f"{one.documents:,} of {one.of:,} {name}" for name, one in copied.items())
    engine = Engine(
        "trial", f"an embedded mongod {server.version} has tried it on a sample ({parts})",
        read_bytes=taken, read_seconds=sum(one.seconds for one in copied.values()),
        tried=len(tried), seconds=time.perf_counter() - began,
    )  # fmt: skip
    return Found(asked, drafts, proved, tried, ratios=trying.ratios, engine=engine, notes=notes)


def _candidates(drafts: Sequence[Draft], standing: Standing) -> tuple[Candidate, ...]:
    """Of the queries as they stand and as they are rewritten, each once."""
    forms: list[Query] = []
    names: dict[str, str] = {}
    for draft in drafts:
        for form in draft.forms:
            query = replace(draft.query, examples=form.commands)
            names[query.fingerprint] = draft.fingerprint
            forms.append(query)
    return tuple(
        replace(one, helps=tuple(dict.fromkeys(names[name] for name in one.helps)))
        for one in propose(forms, standing.indexes)
    )


async def _rewrite(database: AsyncDatabase[dict[str, Any]], trying: Trying, draft: Draft, standing: Standing) -> None:
    """Give it another form if the rules make one that is equal, and that answers the same here."""
    if not draft.runs or draft.query.command.kind != "aggregate":
        return
    unique = frozenset(
        (name, one.fields[0])
        for name, indexes in standing.indexes.items()
        for one in indexes
        if one.options.get("unique") and one.plain and len(one.keys) == 1
    )
    version = tuple((await database.client.server_info())["versionArray"])
    facts = rules.Facts(unique, version)
    made = [rules.rewritten(one.pipeline, facts) for one in draft.forms[0].commands]
    _, names, unless = made[0]
    if not names or not await _none_empty(database, unless):
        return
    why = {rule.name: rule.why for rule in rules.RULES}
    conditions = (*(why[name] for name in names), *(f"no {name}.{field} is an empty array" for name, field in unless))
    commands = tuple(
        one.with_pipeline(pipeline) for one, (pipeline, _, _) in zip(draft.forms[0].commands, made, strict=True)
    )
    draft.forms.append(Form(commands, names, conditions))
    await trying.run_form(draft, len(draft.forms) - 1)


async def _none_empty(database: AsyncDatabase[dict[str, Any]], unless: Sequence[tuple[str, str]]) -> bool:
    """Whether no document has an empty array there; False where that cannot be told in time."""
    for name, field in unless:
        try:
            if await database[name].find_one({field: []}, {"_id": 1}, max_time_ms=_QUESTION_MS) is not None:
                return False
        except PyMongoError:
            return False
    return True


async def _same_engine(database: AsyncDatabase[dict[str, Any]], admin: Any, asked: MongoWorkload) -> None:
    """Let our mongod run pipelines by the engine that production runs them by, where it has both."""
    query = next((one for one in asked.queries if one.command.kind == "aggregate" and not one.unrunnable), None)
    if query is None:
        return
    stages = [{"$group": {"_id": "$_id"}}]
    try:
        plan = {"explain": {"aggregate": query.collection, "pipeline": stages, "cursor": {}}}
        told = await database.command({**plan, "verbosity": "queryPlanner"})
    except PyMongoError:
        return
    if str(told.get("explainVersion", "1")) != "1":
        return
    for name, value in (
        ("internalQueryFrameworkControl", "forceClassicEngine"),
        ("internalQueryForceClassicEngine", True),
    ):
        try:
            await admin.command({"setParameter": 1, name: value})
        except PyMongoError:
            continue


def _drops(standing: Standing, queries: Sequence[Query], made: Sequence[MongoIndex]) -> list[Drop]:
    found: dict[tuple[str, str], Drop] = {}
    for name, indexes in standing.indexes.items():
        new = [one for one in made if one.collection == name]
        shard = standing.shard_keys.get(name)
        drops = [
            *redundant([*indexes, *new]),
            *misspelled(
                indexes, standing.empty.get(name, frozenset()), queries, standing.fields.get(name, frozenset())
            ),
            *unused(indexes, standing.usage.get(name, {}), queries),
        ]
        for one in drops:
            if one.index in new or (shard is not None and one.index.fields[: len(shard)] == shard):
                continue
            found.setdefault((name, one.index.name), one)
    return list(found.values())


def _change(asked: MongoWorkload, index: MongoIndex) -> MongoChange:
    """The index as createIndexes takes it, with the commands that it is made for or may harm, the heaviest first."""
    commands = [
        _written(spoken(example))
        for query in asked.queries
        if not query.unrunnable and index.collection in {one.collection for one in accesses(query.command)}
        for example in spread(query.examples)
    ]
    short = [text for text in commands if len(text) <= _COMMAND_CHARS]
    spec = {"key": dict(index.keys), "name": index.called, **index.options}
    return MongoChange(index.collection, index.called, _written(spec), tuple(short[:_COMMANDS_MAX]))


def _written(document: Mapping[str, Any]) -> str:
    return json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS)
