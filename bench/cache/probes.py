"""Whether a cache is right where it is hard: every probe on every side, with what was seen.

.venv-bench/bin/python bench/cache/probes.py [--quick] [--only tercet,cashews]
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import question
import redis.asyncio as driver
import sides

# A probe that takes longer hangs, which is an answer.
LIMIT_SECONDS = 15.0

# Callers at once where several are needed.
WAITERS = 10
CALLERS = 50

# How long a slow loader takes; long enough for everybody to have come.
LOAD_SECONDS = 0.1

Factory = Callable[..., Any]
Verdict = tuple[bool, str]


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Each probe on each side, in an empty Redis: right or wrong, and what was seen."""
    root = setting.server.url.rpartition("/")[0]
    table: dict[str, dict[str, object]] = {}
    for name, probe in PROBES.items():
        table[name] = {}
        for side, factory in (setting.sides("FUNCTION") | setting.sides("NEAR")).items():
            async with driver.from_url(f"{root}/0") as raw:
                await raw.flushall()
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    right, seen = await probe(factory, f"{root}/0")
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
                right, seen = False, sides.said(error) if not isinstance(error, TimeoutError) else "hung"
            table[name][side] = {"right": right, "seen": seen}
    return table


async def leader_cancelled(factory: Factory, url: str) -> Verdict:
    """The caller who came first goes away; the nine others are served all the same."""

    async def load(key: str) -> dict[str, str]:
        await asyncio.sleep(LOAD_SECONDS)
        return {"key": key}

    async with factory(url, load) as function:
        tasks = [asyncio.ensure_future(function.call("cold")) for _ in range(WAITERS)]
        await asyncio.sleep(LOAD_SECONDS / 3)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    served = sum(one == {"key": "cold"} for one in found[1:])
    return served == WAITERS - 1, f"{served} of {WAITERS - 1} others served"


async def result_changed(factory: Factory, url: str) -> Verdict:
    """A caller changes what it got, on the top and deep inside; the next caller sees nothing of it."""

    async def load(key: str) -> dict[str, Any]:
        return {"key": key, "tags": ["a"], "deep": {"list": [1]}}

    async with factory(url, load) as function:
        wanted = {"key": "user", "tags": ["a"], "deep": {"list": [1]}}
        for turn in range(3):
            found = await function.call("user")
            if found != wanted:
                return False, f"call {turn + 1} saw {found}"
            found["key"] = "changed"
            found["tags"].append("changed")
            found["deep"]["list"].append(2)
    return True, "each caller had its own"


async def none_kept(factory: Factory, url: str) -> Verdict:
    """None, an empty list, 0 and False are results like others: loaded once."""
    seen = []
    results: tuple[Any, ...] = (None, [], 0, False)
    for value in results:
        loads: list[str] = []
        async with factory(url, _returning(value, loads)) as function:
            found = [await function.call("absent") for _ in range(3)]
        if any(one != value or type(one) is not type(value) for one in found):
            return False, f"{value!r} came back as {found}"
        seen.append((value, len(loads)))
    return all(count == 1 for _, count in seen), ", ".join(f"{value!r}: {count} loads" for value, count in seen)


def _returning(value: Any, loads: list[str]) -> Callable[..., Awaitable[Any]]:
    """A loader of this value, under a name of its own, so that no two of them share a key."""

    async def load(key: str) -> Any:
        loads.append(key)
        return value

    load.__name__ = load.__qualname__ = f"load_{type(value).__name__}"
    return load


async def loader_fails(factory: Factory, url: str) -> Verdict:
    """Fifty callers while the loader fails: it is called once for them all, and each gets the error."""
    loads = 0

    async def load(key: str) -> dict[str, str]:
        nonlocal loads
        loads += 1
        await asyncio.sleep(LOAD_SECONDS)
        raise LookupError(key)

    async with factory(url, load) as function:
        found = await asyncio.gather(*(function.call("bad") for _ in range(CALLERS)), return_exceptions=True)
    told = sum(isinstance(one, LookupError) for one in found)
    return loads == 1 and told == CALLERS, f"{loads} loads, {told} of {CALLERS} told"


async def late_fill(factory: Factory, url: str) -> Verdict:
    """A loader has read the old row when the row changes and is dropped; its late fill does not stay."""
    row, read, go = {"value": 1}, asyncio.Event(), asyncio.Event()

    async def load(key: str) -> dict[str, int]:
        del key
        found = dict(row)
        read.set()
        await go.wait()
        return found

    async with factory(url, load) as function:
        if function.drop is None:
            return False, "cannot drop"
        slow = asyncio.ensure_future(function.call("user"))
        await read.wait()
        row["value"] = 2
        await function.drop("user")
        go.set()
        await slow
        found = await function.call("user")
    return found == {"value": 2}, f"after the drop it serves {'the new' if found == {'value': 2} else 'the old'} value"


async def keys_collide(factory: Factory, url: str) -> Verdict:
    """Calls that differ never share a result."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("a:b",), {}),
        (("a", "b"), {}),
        ((1,), {}),
        (("1",), {}),
        ((True,), {}),
        ((1.0,), {}),
        ((None,), {}),
        (("None",), {}),
        (("a=1",), {}),
        ((), {"a": "1"}),
        (("a", ""), {}),
        (("a",), {}),
        ((10_082,), {}),
        ((12_552,), {}),
    ]

    async def load(a: Any = "", b: Any = "default") -> list[Any]:
        return [repr(a), repr(b)]

    async with factory(url, load) as function:
        wrong = []
        for args, kwargs in calls:
            try:
                found = await function.call(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
                wrong.append(f"{_shown(args, kwargs)}: {type(error).__name__}")
                continue
            if list(found) != await load(*args, **kwargs):
                wrong.append(_shown(args, kwargs))
    return not wrong, f"{len(wrong)} of {len(calls)} got another call's: {', '.join(wrong)}" if wrong else "none did"


async def calls_alike(factory: Factory, url: str) -> Verdict:
    """The same call is loaded once, however its arguments are passed."""
    loads = 0

    async def load(a: int, b: int = 2) -> list[int]:
        nonlocal loads
        loads += 1
        return [a, b]

    async with factory(url, load) as function:
        for args, kwargs in (((1,), {}), ((1, 2), {}), ((1,), {"b": 2}), ((), {"a": 1}), ((), {"b": 2, "a": 1})):
            try:
                await function.call(*args, **kwargs)
            except ValueError as error:
                return False, sides.said(error)
    return loads == 1, f"{loads} loads of one call in five spellings"


async def shape_changed(factory: Factory, url: str) -> Verdict:
    """A release with one more field starts while entries of the last one are there: a miss, and no error."""
    async with factory(url, _release("id: int", call="Card(user)")) as function:
        await function.call(7)
    async with factory(url, _release("id: int", "level: int", call="Card(user, 3)")) as function:
        found = await function.call(7)
        level = getattr(found, "level", None) if not isinstance(found, dict) else found.get("level")
    return level == 3, "the new shape" if level == 3 else f"{type(found).__name__} without the new field"


def _release(*fields: str, call: str) -> Any:
    """The function `card` of a module, as a release of a program has it: same names, this shape."""
    module = types.ModuleType("shop_cards")
    sys.modules["shop_cards"] = module
    body = "\n    ".join(fields)
    source = (
        "from dataclasses import dataclass\n\n\n"
        f"@dataclass(frozen=True)\nclass Card:\n    {body}\n\n\n"
        f"async def card(user: int) -> Card:\n    return {call}\n"
    )
    exec(compile(source, "shop_cards.py", "exec"), module.__dict__)  # noqa: S102 - our own text, two releases of one module
    return module.card


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"


PROBES: Mapping[str, Callable[[Factory, str], Awaitable[Verdict]]] = {
    "first caller cancelled": leader_cancelled,
    "result changed by its caller": result_changed,
    "None, [], 0, False kept": none_kept,
    "loader fails for 50 callers": loader_fails,
    "late fill after a drop": late_fill,
    "different calls, different keys": keys_collide,
    "same call, same key": calls_alike,
    "type with another shape": shape_changed,
}


if __name__ == "__main__":
    question.main("probes", ask, loops=("asyncio",))
