"""The statements of a running program, heard where SQLAlchemy sends them, with the places that ask them."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import greenlet
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from tercet.advisor.query import EXAMPLES_MAX
from tercet.advisor.workload.asked import STATEMENT_CHARS_MAX, Asked
from tercet.advisor.workload.folding import SITES_MAX, Folding
from tercet.stores.holders import here, shown, site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, Engine, ExecutionContext

    from tercet.advisor.query import Workload

# Texts heard at once; a program has some hundreds, and one that puts values into its texts has any number.
TEXTS_MAX = 2_000
# Runs of one text whose values and place are kept: every n-th, four for each example.
RUNS_MAX = 4 * EXAMPLES_MAX
# A longer value is a document; it is left as $1.
VALUE_CHARS_MAX = 1_000

# How the other drivers write a parameter: "%s", "%(name)s", and "%%" for a percent sign.
_PERCENT = re.compile(r"%(?:\((?P<name>[^)]*)\))?(?P<what>[s%])")
# Where a statement that is under way keeps its beginning.
_STARTED = "tercet_recorder_started"


@dataclass(slots=True)
class _Heard:
    """What is kept of one text."""

    calls: float = 0.0
    ms: float = 0.0
    rows: float = 0.0
    seen: int = 0
    every: int = 1
    runs: list[tuple[float, dict[int, str]]] = field(default_factory=list)
    sites: dict[str, None] = field(default_factory=dict)
    style: str = "numeric_dollar"


class Recorder:
    """Hears every statement of an engine while `recording`, and gives them as a workload.

    Costs a few microseconds a statement. Keeps texts, times, some values and some call sites, never results; its
    memory is bounded. May be used for several engines, and more than once.
    """

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}
        self._missed = 0
        self._seconds = 0.0
        self._lock = Lock()

    @contextmanager
    def recording(self, engine: AsyncEngine | Engine) -> Iterator[Recorder]:
        """Listen to this engine while the block runs: `with recorder.recording(db.postgres.engine): …`."""
        target = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        event.listen(target, "before_cursor_execute", self._begins)
        event.listen(target, "after_cursor_execute", self._has_run)
        started = perf_counter()
        try:
            yield self
        finally:
            self._seconds += perf_counter() - started
            event.remove(target, "before_cursor_execute", self._begins)
            event.remove(target, "after_cursor_execute", self._has_run)

    def workload(self, source: str = "SQLAlchemy") -> Workload:
        """What was heard so far, folded by fingerprint, each statement with the places that ask it."""
        folding = Folding()
        with self._lock:
            heard = [(text, one, list(one.runs), tuple(one.sites)) for text, one in self._heard.items()]
        for text, one, runs, sites in heard:
            sql = _numbered(text) if one.style != "numeric_dollar" else text
            # The runs whose values are known stand for the others.
            share = 1 / (len(runs) or 1)
            for ms, values in runs or [(0.0, {})]:
                part = one.ms * ms / (sum(known for known, _ in runs) or 1.0) if runs else one.ms
                said = ", ".join(f"${number} = {value}" for number, value in values.items())
                folding.add(Asked(sql, one.calls * share, part, one.rows * share, sites=sites, values=said))
        if self._missed:
            folding.skip("", f"{self._missed:,} statements came after {TEXTS_MAX:,} different texts and were not heard")
        return folding.workload(source, share=1.0, seconds=self._seconds or None)

    def _begins(
        self, _connection: Connection, _cursor: object, _sql: str, _parameters: object, context: Any, _many: bool
    ) -> None:
        setattr(context, _STARTED, perf_counter())

    def _has_run(
        self, connection: Connection, cursor: Any, sql: str, parameters: Any, context: ExecutionContext, many: bool
    ) -> None:
        ms = (perf_counter() - getattr(context, _STARTED, perf_counter())) * 1000
        calls = len(parameters) if many else 1
        with self._lock:
            heard = self._heard.get(sql)
            if heard is None:
                if len(self._heard) >= TEXTS_MAX or len(sql) > STATEMENT_CHARS_MAX:
                    self._missed += calls
                    return
                heard = self._heard[sql] = _Heard(style=connection.dialect.paramstyle)
            heard.calls += calls
            heard.ms += ms
            heard.rows += max(0, getattr(cursor, "rowcount", 0) or 0)
            heard.seen += 1
            if (heard.seen - 1) % heard.every == 0:
                _sample(heard, sql, parameters[0] if many and parameters else parameters, ms / (calls or 1))


def _sample(heard: _Heard, sql: str, parameters: Any, ms: float) -> None:
    """Keep the values and the place of this run; every other one goes when there are too many."""
    heard.runs.append((ms, dict(_values(sql, parameters))))
    if len(heard.runs) > RUNS_MAX:
        del heard.runs[1::2]
        heard.every *= 2
    if len(heard.sites) < SITES_MAX:
        heard.sites[shown(_place())] = None


def _place() -> tuple[str, int]:
    """The place in the program; below an AsyncEngine it is in the greenlet that has called this one."""
    parent = greenlet.getcurrent().parent
    return site(parent.gr_frame) if parent is not None and parent.gr_frame is not None else here()


def _values(sql: str, parameters: Mapping[str, object] | Sequence[object]) -> Iterator[tuple[int, str]]:
    """Each parameter by its number with its literal, as far as it has one."""
    given = [parameters[name] for name in _names(sql)] if isinstance(parameters, dict) else parameters or ()
    for number, value in enumerate(given, 1):
        written = _written(value)
        if written is not None and len(written) <= VALUE_CHARS_MAX:
            yield number, written


def said(sql: str, parameters: Mapping[str, object] | Sequence[object]) -> str:
    """The values of a text's parameters as a log writes them, as far as they have a literal."""
    return ", ".join(f"${number} = {value}" for number, value in _values(sql, parameters))


def _names(sql: str) -> list[str]:
    """The names of "%(name)s" in the order of their first place."""
    return list(dict.fromkeys(match["name"] for match in _PERCENT.finditer(sql) if match["name"]))


def _numbered(sql: str) -> str:
    """The text of another driver with $1, $2 … for its parameters."""
    order = {name: number for number, name in enumerate(_names(sql), 1)}
    count = 0

    def put(match: re.Match[str]) -> str:
        nonlocal count
        if match["what"] == "%":
            return "%"
        count += 1
        return f"${order[match['name']] if match['name'] else count}"

    return _PERCENT.sub(put, sql)


def _written(value: object) -> str | None:
    """A value as a log would write it: 'text' or NULL; None for what has no such form."""
    if value is None:
        return "NULL"
    text = _text(value)
    return None if text is None else "'" + text.replace("'", "''") + "'"


def _text(value: object) -> str | None:
    """A value in the text form of its type."""
    match value:
        case bool():
            return "t" if value else "f"
        case Enum():
            return value.name
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return f"{value.total_seconds()} seconds"
        case _:
            return _nested(value) if isinstance(value, dict | list | tuple) else _plain(value)


def _nested(value: dict[object, object] | Sequence[object]) -> str:
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    inside = (None if one is None else _text(one) for one in value)
    return "{" + ",".join("NULL" if one is None else json.dumps(one, ensure_ascii=False) for one in inside) + "}"


def _plain(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float | Decimal | UUID) else None
