"""What every question here shares: its options, its server, its loops, what it prints and what it writes."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import peers
import server as servers
from server import Server

try:
    import uvloop
except ImportError:  # the normal environment of the project has none
    uvloop = None  # type: ignore[assignment]  # either the module or nothing

# Written, and not printed: what a reader of the file wants and a person at the screen does not.
_QUIET = {"rounds", "operations", "cpu_us_best", "per_second"}

LOOPS = ("asyncio", "uvloop")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a question is asked with: the server, the peers, the loop, and whether it is only a try of the harness."""

    server: Server
    peers: peers.Peers
    loop: str
    quick: bool

    def sides(self, kind: str) -> dict[str, Any]:
        """The sides of all peers that answer this kind of question, by the name in the table."""
        return self.peers.sides(kind)

    def pick(self, quick: int, full: int) -> int:
        """A size: the first when the run is only a try."""
        return quick if self.quick else full


# A question gives a table: side -> what was measured or seen.
Ask = Callable[[Setting], Coroutine[Any, Any, Mapping[str, object]]]


def main(name: str, ask: Ask, *, loops: tuple[str, ...] = LOOPS) -> None:
    """Ask it in each loop, print the answers, and write them where --json says."""
    options = _options(name)
    # What peers say on their way is not what they are asked; writing it would be measured too.
    logging.getLogger().addHandler(logging.NullHandler())
    found = peers.load(options.only)
    answers: dict[str, Any] = {}
    began = time.monotonic()
    with servers.running() as running:
        for loop in loops:
            if loop == "uvloop" and (uvloop is None or options.quick):
                continue
            setting = Setting(running, found, loop, options.quick)
            factory = uvloop.new_event_loop if loop == "uvloop" else None
            with asyncio.Runner(loop_factory=factory) as runner:
                answers[loop] = _builtins(runner.run(ask(setting)))
            _show(name, loop, answers[loop])
        version = running.version
    whole = {
        "question": name,
        "server": version,
        "seconds": round(time.monotonic() - began, 1),
        "versions": found.versions,
        "missing": found.missing,
        "loops": answers,
    }
    if options.json:
        options.json.write_text(json.dumps(whole, indent=1, sort_keys=False) + "\n", encoding="utf-8")


def _options(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=sys.modules["__main__"].__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; the figures mean nothing"
    )
    parser.add_argument(
        "--only", type=lambda text: tuple(text.split(",")), default=None, help="these peers: tercet,redis"
    )
    parser.add_argument("--json", type=Path, default=None, help="write the answers to this file")
    return parser.parse_args()


def _builtins(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _builtins(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _builtins(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_builtins(one) for one in value]
    return value


def _show(name: str, loop: str, answer: Mapping[str, Any], indent: str = "") -> None:
    print(f"{indent}-- {name} ({loop})" if loop else f"{indent}{name}", flush=True)
    for side, said in answer.items():
        if isinstance(said, Mapping) and any(isinstance(one, Mapping) for one in said.values()):
            _show(side, "", said, indent + "   ")
        else:
            told = said.items() if isinstance(said, Mapping) else [("", said)]
            shown = "  ".join(f"{key} {value}" for key, value in told if key not in _QUIET)
            print(f"{indent}   {side:<44} {shown}", flush=True)
