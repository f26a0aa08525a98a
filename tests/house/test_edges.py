"""The edges: a file named after a foreign thing is the only one that knows it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

import pytest

# The files that know a foreign package, by the name of the file.
BY_FILE = {
    # greenlet is how SQLAlchemy waits; psycopg's libpq speaks the replication protocol, which asyncpg does not.
    "postgres": {"sqlalchemy", "asyncpg", "greenlet", "psycopg"},
    "mongo": {"pymongo", "bson"},
    "redis": {"redis", "hiredis"},
    "otel": {"opentelemetry"},
    "prometheus": {"prometheus_client"},
    # Or the module of Python's own, from 3.14 on.
    "zstandard": {"zstandard", "compression"},
    # Its messages are protobuf's, and so are their errors.
    "postgast": {"postgast", "google"},
    # The shop comes with the wheel, and is above everything: only its command reaches for it.
    "demo": {"tercet_shop"},
    # What a revision carries runs statements as Alembic does, by SQLAlchemy.
    "alembic": {"alembic", "sqlalchemy"},
    # In annotations only: type checkers see whose objects are handed out. The import budget watches it.
    "tercet": {"pymongo", "redis"},
    "features": {"pymongo", "redis", "sqlalchemy"},
}
# The rooms that know one everywhere inside.
BY_ROOM = {"cli": {"click", "rich"}}

# What any file may import: the core's own dependency, which knows no store and waits for nothing.
ANYWHERE = {"msgspec"}

# Files of values: rules and facts, with nothing to wait for.
VALUES = (
    "tercet.address",
    "tercet.advisor.advice",
    "tercet.advisor.blocks",
    "tercet.advisor.caching.candidate",
    "tercet.advisor.caching.decide",
    "tercet.advisor.caching.entry",
    "tercet.advisor.caching.lineage",
    "tercet.advisor.caching.lines",
    "tercet.advisor.caching.propose",
    "tercet.advisor.caching.python_names",
    "tercet.advisor.candidate",
    "tercet.advisor.candidates.before",
    "tercet.advisor.candidates.draft",
    "tercet.advisor.candidates.every",
    "tercet.advisor.candidates.finding",
    "tercet.advisor.candidates.housekeeping",
    "tercet.advisor.candidates.kinds.array",
    "tercet.advisor.candidates.kinds.brin",
    "tercet.advisor.candidates.kinds.covering",
    "tercet.advisor.candidates.kinds.equality",
    "tercet.advisor.candidates.kinds.expression",
    "tercet.advisor.candidates.kinds.fulltext",
    "tercet.advisor.candidates.kinds.group",
    "tercet.advisor.candidates.kinds.hash",
    "tercet.advisor.candidates.kinds.join",
    "tercet.advisor.candidates.kinds.jsonb",
    "tercet.advisor.candidates.kinds.merged",
    "tercet.advisor.candidates.kinds.partial",
    "tercet.advisor.candidates.kinds.partitioned",
    "tercet.advisor.candidates.kinds.prefix",
    "tercet.advisor.candidates.kinds.range",
    "tercet.advisor.candidates.kinds.sort",
    "tercet.advisor.candidates.kinds.trigram",
    "tercet.advisor.candidates.kinds.unique",
    "tercet.advisor.candidates.propose",
    "tercet.advisor.candidates.roles.conditions",
    "tercet.advisor.candidates.roles.constants",
    "tercet.advisor.candidates.roles.families",
    "tercet.advisor.candidates.roles.pushed",
    "tercet.advisor.candidates.roles.scan",
    "tercet.advisor.candidates.roles.scans",
    "tercet.advisor.candidates.roles.share",
    "tercet.advisor.candidates.roles.used",
    "tercet.advisor.candidates.same",
    "tercet.advisor.catalog",
    "tercet.advisor.choice.bounds",
    "tercet.advisor.choice.chosen",
    "tercet.advisor.choice.finding.variants",
    "tercet.advisor.choice.observation",
    "tercet.advisor.choice.timing.ground",
    "tercet.advisor.choice.timing.pages",
    "tercet.advisor.choice.timing.reckoner",
    "tercet.advisor.choice.timing.rows",
    "tercet.advisor.choice.timing.speeds",
    "tercet.advisor.choice.writing",
    "tercet.advisor.equivalence.answers",
    "tercet.advisor.equivalence.asking",
    "tercet.advisor.equivalence.determined",
    "tercet.advisor.equivalence.edges.constants",
    "tercet.advisor.equivalence.edges.data",
    "tercet.advisor.equivalence.edges.pools",
    "tercet.advisor.equivalence.moments",
    "tercet.advisor.equivalence.statements",
    "tercet.advisor.equivalence.verdict",
    "tercet.advisor.failure",
    "tercet.advisor.flow.draft",
    "tercet.advisor.flow.summing",
    "tercet.advisor.flow.telling",
    "tercet.advisor.hypopg.descent",
    "tercet.advisor.mongo.candidates.candidate",
    "tercet.advisor.mongo.candidates.housekeeping",
    "tercet.advisor.mongo.candidates.orders",
    "tercet.advisor.mongo.choice.choose",
    "tercet.advisor.mongo.choice.draft",
    "tercet.advisor.mongo.explained",
    "tercet.advisor.mongo.index",
    "tercet.advisor.mongo.parsing.access",
    "tercet.advisor.mongo.parsing.condition",
    "tercet.advisor.mongo.parsing.paths",
    "tercet.advisor.mongo.rules.lookup_by_field",
    "tercet.advisor.mongo.rules.lookup_later",
    "tercet.advisor.mongo.rules.match_before_group",
    "tercet.advisor.mongo.rules.match_first",
    "tercet.advisor.mongo.rules.rule",
    "tercet.advisor.mongo.rules.rules",
    "tercet.advisor.mongo.shape",
    "tercet.advisor.mongo.shell",
    "tercet.advisor.mongo.telling",
    "tercet.advisor.mongo.workload.folding",
    "tercet.advisor.private.recipe",
    "tercet.advisor.query",
    "tercet.advisor.reading.arrays",
    "tercet.advisor.reading.rows",
    "tercet.advisor.report.document",
    "tercet.advisor.report.kept",
    "tercet.advisor.report.markup",
    "tercet.advisor.report.page",
    "tercet.advisor.report.text",
    "tercet.advisor.report.trees",
    "tercet.advisor.report.words",
    "tercet.advisor.rewrites.building",
    "tercet.advisor.rewrites.children",
    "tercet.advisor.rewrites.facts",
    "tercet.advisor.rewrites.meaning",
    "tercet.advisor.rewrites.membership",
    "tercet.advisor.rewrites.proved",
    "tercet.advisor.rewrites.rewriting",
    "tercet.advisor.rewrites.rule",
    "tercet.advisor.rewrites.rules.arithmetic",
    "tercet.advisor.rewrites.rules.correlated_aggregate",
    "tercet.advisor.rewrites.rules.count_join_column",
    "tercet.advisor.rewrites.rules.count_star",
    "tercet.advisor.rewrites.rules.count_to_exists",
    "tercet.advisor.rewrites.rules.distinct_key",
    "tercet.advisor.rewrites.rules.function_to_range",
    "tercet.advisor.rewrites.rules.group_by_key",
    "tercet.advisor.rewrites.rules.having_to_where",
    "tercet.advisor.rewrites.rules.in_to_exists",
    "tercet.advisor.rewrites.rules.keyset",
    "tercet.advisor.rewrites.rules.late_materialisation",
    "tercet.advisor.rewrites.rules.lateral_aggregation",
    "tercet.advisor.rewrites.rules.left_to_inner",
    "tercet.advisor.rewrites.rules.not_in_to_not_exists",
    "tercet.advisor.rewrites.rules.or_to_union",
    "tercet.advisor.rewrites.rules.pre_aggregation",
    "tercet.advisor.rewrites.rules.redundant_join",
    "tercet.advisor.rewrites.rules.union_all",
    "tercet.advisor.rewrites.sources",
    "tercet.advisor.sandbox.part",
    "tercet.advisor.scope.asked",
    "tercet.advisor.scope.block",
    "tercet.advisor.scope.facts",
    "tercet.advisor.scope.patterns",
    "tercet.advisor.scope.predicate",
    "tercet.advisor.scope.predicates",
    "tercet.advisor.scope.resolving.expressions",
    "tercet.advisor.scope.resolving.frame",
    "tercet.advisor.scope.resolving.keys",
    "tercet.advisor.scope.resolving.names",
    "tercet.advisor.scope.resolving.resolve",
    "tercet.advisor.scope.resolving.sources",
    "tercet.advisor.scope.resolving.types",
    "tercet.advisor.scope.used",
    "tercet.advisor.scope.written",
    "tercet.advisor.shadow.explained",
    "tercet.advisor.shadow.making.ddl",
    "tercet.advisor.shadow.making.extended",
    "tercet.advisor.shadow.making.files",
    "tercet.advisor.shadow.making.origin",
    "tercet.advisor.shadow.relevance",
    "tercet.advisor.shadow.sizes.btree",
    "tercet.advisor.shadow.sizes.distinct",
    "tercet.advisor.shadow.sizes.layout",
    "tercet.advisor.shadow.sizes.size",
    "tercet.advisor.verify.answer",
    "tercet.advisor.verify.change",
    "tercet.advisor.verify.judge",
    "tercet.advisor.verify.paired",
    "tercet.advisor.verify.values",
    "tercet.advisor.views.candidate",
    "tercet.advisor.views.definition",
    "tercet.advisor.views.estimate",
    "tercet.advisor.views.match",
    "tercet.advisor.views.policy",
    "tercet.advisor.views.propose",
    "tercet.advisor.views.statement.adapt",
    "tercet.advisor.views.statement.flat",
    "tercet.advisor.views.statement.inner",
    "tercet.advisor.views.statement.look",
    "tercet.advisor.views.statement.measure",
    "tercet.advisor.views.statement.safety",
    "tercet.advisor.views.statement.shape",
    "tercet.advisor.workload.asked",
    "tercet.advisor.workload.classes",
    "tercet.advisor.workload.folding",
    "tercet.advisor.workload.literals",
    "tercet.advisor.workload.logs.message",
    "tercet.advisor.workload.logs.record",
    "tercet.advisor.workload.roles",
    "tercet.advisor.workload.script",
    "tercet.cache.encoding.codec",
    "tercet.cache.encoding.frame",
    "tercet.cache.encoding.key",
    "tercet.cache.encoding.packing",
    "tercet.cache.encoding.pickled",
    "tercet.cache.encoding.tags",
    "tercet.cache.entry",
    "tercet.cache.follow.shapes",
    "tercet.cache.functions.binder",
    "tercet.cache.functions.compiled",
    "tercet.cache.functions.writing",
    "tercet.cache.memory",
    "tercet.cache.moments.rule",
    "tercet.cache.moments.span",
    "tercet.cache.shelf.glob",
    "tercet.cache.shelf.layout",
    "tercet.cache.shelf.owed",
    "tercet.changes.change",
    "tercet.changes.fallback.pace",
    "tercet.changes.fallback.places",
    "tercet.changes.fallback.typed",
    "tercet.changes.feeding.pause",
    "tercet.changes.feeding.place",
    "tercet.changes.feeding.status",
    "tercet.changes.mongo.event",
    "tercet.changes.mongo.gathering",
    "tercet.changes.mongo.scope",
    "tercet.changes.outbox.delivery",
    "tercet.changes.outbox.event",
    "tercet.changes.pgoutput.arrays",
    "tercet.changes.pgoutput.catalog",
    "tercet.changes.pgoutput.counts",
    "tercet.changes.pgoutput.decoder",
    "tercet.changes.pgoutput.frames",
    "tercet.changes.pgoutput.message",
    "tercet.changes.pgoutput.relation",
    "tercet.changes.pgoutput.stream",
    "tercet.changes.pgoutput.transaction",
    "tercet.changes.pgoutput.types",
    "tercet.changes.pgoutput.wanted",
    "tercet.changes.setup.choose",
    "tercet.changes.setup.findings",
    "tercet.changes.setup.identity",
    "tercet.changes.setup.plan",
    "tercet.changes.setup.publication",
    "tercet.changes.setup.sqlstate",
    "tercet.changes.setup.step",
    "tercet.changes.setup.triggers",
    "tercet.changes.setup.verdicts",
    "tercet.changes.setup.written",
    "tercet.changes.stream.statements",
    "tercet.clock",
    "tercet.errors.refused",
    "tercet.errors.store",
    "tercet.errors.tree",
    "tercet.errors.usage",
    "tercet.limits.decision",
    "tercet.limits.gcra",
    "tercet.limits.key",
    "tercet.limits.rate",
    "tercet.locks.lease",
    "tercet.locks.name",
    "tercet.migrations.blocks",
    "tercet.migrations.marks",
    "tercet.migrations.saving.revision",
    "tercet.migrations.sqlstate",
    "tercet.migrations.steps",
    "tercet.migrations.waiting.blocker",
    "tercet.proof.ladder",
    "tercet.proof.rows",
    "tercet.proof.svg",
    "tercet.proof.verdict",
    "tercet.rollups.blocks",
    "tercet.rollups.kept.content",
    "tercet.rollups.kept.rollup",
    "tercet.rollups.kept.statements",
    "tercet.rollups.summary",
    "tercet.router.checking.finding",
    "tercet.router.edit",
    "tercet.router.entity",
    "tercet.router.key",
    "tercet.router.outcome",
    "tercet.router.plan",
    "tercet.router.reading.answer",
    "tercet.router.reading.known",
    "tercet.router.source",
    "tercet.router.writing.saved",
    "tercet.servers.address",
    "tercet.sessions.data",
    "tercet.sessions.session",
    "tercet.sessions.token",
    "tercet.settings",
    "tercet.sql.condition",
    "tercet.sql.explain",
    "tercet.sql.identifier",
    "tercet.sql.node",
    "tercet.sql.plan",
    "tercet.sql.port",
    "tercet.sql.schema",
    "tercet.sql.statement",
    "tercet.sql.tokens",
    "tercet.sql.tree",
    "tercet.stores.budget",
    "tercet.stores.reads.token",
    "tercet.telemetry.event",
    "tercet.units",
    "tercet.wire.batch",
    "tercet.wire.breaker",
    "tercet.wire.script",
    "tercet.witness",
)


class Source(Protocol):
    """What a test here needs of a source file."""

    name: str
    place: str
    room: str
    tree: ast.Module

    def imports(self) -> Sequence[str]:
        """Every module that it names."""
        ...


def _named_after(source: Source) -> str:
    """The first word of the file's name: postgres_probe.py is named after postgres."""
    return source.name.rpartition(".")[2].partition("_")[0]


def test_only_the_file_named_after_a_package_imports_it(library: Sequence[Source]) -> None:
    """Every import from outside is allowed by the file's own name, or by its room's."""
    own = {*sys.stdlib_module_names, *ANYWHERE, "tercet"}
    strangers = [
        f"{source.place} imports {module}"
        for source in library
        for module in source.imports()
        if (top := module.partition(".")[0]) not in own
        and top not in BY_FILE.get(_named_after(source), set())
        and top not in BY_ROOM.get(source.room, set())
    ]
    assert not strangers, "\n".join(strangers)


def test_no_room_below_the_top_imports_the_face(library: Sequence[Source]) -> None:
    """The face names everything, so a room that imported it would reach upwards."""
    assert [source.place for source in library if source.room != "cli" and "tercet" in source.imports()] == []


def _has_a_door(module: str) -> bool:
    found = import_module(module)
    return hasattr(found, "__path__") and hasattr(found, "__all__")


def test_the_shop_enters_tercet_by_its_doors(shop: Sequence[Source]) -> None:
    """What the shop uses, a user can use: a room, one within it that has a door, or the face; never a file inside."""
    inside = [
        f"{source.place} imports {module}"
        for source in shop
        for module in source.imports()
        if module.startswith("tercet.") and module.count(".") > 1 and not _has_a_door(module)
    ]
    assert not inside, "\n".join(inside)


@pytest.mark.parametrize("name", VALUES)
def test_a_file_of_values_has_nothing_to_wait_for(library: Sequence[Source], name: str) -> None:
    """No `async` and no `await` stand in a file of values."""
    (source,) = (one for one in library if one.name == name)
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    assert [node.lineno for node in ast.walk(source.tree) if isinstance(node, waiting)] == []
