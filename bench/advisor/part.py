"""How a part of this benchmark is asked: its size, its servers, and where its answers go."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server import SETTINGS, Server, majors, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

# With --quick: enough to see that it runs.
QUICK_SCALE = 0.01

Answers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """`scale` 1 is the size at which the goals are meant."""

    scale: float
    rounds: int
    quick: bool
    sources: tuple[str, ...]


def main(doc: str | None, measure: Callable[[Options], Coroutine[Any, Any, Answers]]) -> None:
    """Measure, and write the answers down or print them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=None, help="1 is the full size")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is run; the best counts")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the figures mean nothing")
    parser.add_argument("--sources", default="wheel,path", help="whose PostgreSQL: wheel, path")
    parser.add_argument("--json", type=Path, default=None, help="where the answers go; else they are printed")
    given = parser.parse_args()
    scale = given.scale or (QUICK_SCALE if given.quick else 1.0)
    options = Options(scale, 1 if given.quick else given.rounds, given.quick, tuple(given.sources.split(",")))
    answers = asyncio.run(measure(options))
    text = json.dumps({"scale": scale, **answers}, indent=1)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


async def on_each(
    options: Options,
    measure: Callable[[Server, Options], Awaitable[Answers]],
    settings: Mapping[str, str] = SETTINGS,
) -> Answers:
    """Measure on each PostgreSQL that can be had here."""
    answers: Answers = {"servers": [], "on": {}}
    for source in await majors(options.sources):
        async with running(source, settings) as server:
            print(f"-- {server.name} ({source})", flush=True)
            answers["servers"].append(server.name)
            answers["on"][server.name] = await measure(server, options)
    return answers
