"""The code of one decorated function: its call, its bulk read, and how it asks; written once and compiled.

A hit in this process is one look into a dict, one at the clock and a few comparisons, without a frame more
than the call itself. That is only so fast where the code is written out for the function's own parameters.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from tercet.cache.entry import Ask
from tercet.cache.functions.binder import OURS, as_items
from tercet.cache.functions.writing import names as written_names

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from tercet.cache.functions.binder import Binder
    from tercet.cache.functions.writing import Writing

# The rule of a hit, for a slot that was found. Memory.find says the same of a name.
_CALL = """\
async def _tercet_made(_tercet_self{head}):
    try:
        {own}_tercet_slot = _tercet_index[{lookup}]
    except ({misses}):
        _tercet_slot = None
    if _tercet_slot is not None:
        if _tercet_slot.epoch == _tercet_memory.epoch or _tercet_memory.is_current(_tercet_slot):
            _tercet_moment = _tercet_now()
            if _tercet_slot.until > _tercet_moment and (
                _tercet_memory.trusted_until > _tercet_moment or _tercet_slot.untrusted_until > _tercet_moment
            ):
                _tercet_slot.seen = True
                _tercet_counts.memory += 1
                if _tercet_telemetry.heard:
                    _tercet_tell(_tercet_moment)
                return {kept}
    return await _tercet_fetch({owner}, {values})
"""

_ASKING = """\
def _tercet_made(_tercet_values):
    {several} = _tercet_values
{ask}
    return _tercet_ask
"""

_SWEEP = """\
def _tercet_made(_tercet_owner, _tercet_items):
    _tercet_found = [None] * _tercet_len(_tercet_items)
    _tercet_asks, _tercet_places = [], []
    {own}
    _tercet_moment = _tercet_now()
    _tercet_trusted = _tercet_memory.trusted_until > _tercet_moment
    for _tercet_place, _tercet_item in _tercet_enumerate(_tercet_items):
        {taken}
        try:
            _tercet_slot = _tercet_find({lookup})
        except TypeError:
            _tercet_slot = None
        if (
            _tercet_slot is not None
            and (_tercet_slot.epoch == _tercet_memory.epoch or _tercet_memory.is_current(_tercet_slot))
            and _tercet_slot.until > _tercet_moment
            and (_tercet_trusted or _tercet_slot.untrusted_until > _tercet_moment)
        ):
            _tercet_slot.seen = True
            _tercet_found[_tercet_place] = {kept}
            continue
{ask}
        _tercet_places.append(_tercet_place)
        _tercet_asks.append(_tercet_ask)
    _tercet_counts.memory += _tercet_len(_tercet_items) - _tercet_len(_tercet_asks)
    return _tercet_found, _tercet_asks, _tercet_places
"""

# Leaves an Ask in _tercet_ask: the long way where the arguments are not what they are said to be.
_ASK = """\
_tercet_ask = None
if {guard}:
    try:
        _tercet_name = {name}
        {tags}
        if {fits}:
            _tercet_ask = _tercet_Ask(
                _tercet_name, "", {tagged}, _tercet_codec, _tercet_policy, _tercet_label, _tercet_index, {raw}
            )
    except (TypeError, ValueError, AttributeError, RecursionError):
        pass
if _tercet_ask is None:
    _tercet_ask = _tercet_slow({several})
"""


class Compiler:
    """Writes and compiles the code of one function; `names` are what that code refers to."""

    def __init__(self, binder: Binder, writing: Writing, *, immutable: bool, names: Mapping[str, object]) -> None:
        self._binder = binder
        self._writing = writing
        self._kept = f"{OURS}slot.value" if immutable else f"{OURS}copy({OURS}slot.body)"
        self._names = {
            **written_names(binder),
            "Ask": Ask,
            "dict": dict,
            "enumerate": enumerate,
            "tuple": tuple,
            "read": binder.read,
            **names,
        }

    def call(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The __call__ of a class whose objects know their owner as `_owner`."""
        binder, writing = self._binder, self._writing
        owner = f"{OURS}self._owner"
        own = "".join(
            f"{local} = {owner}.{name.partition('.')[2]}; "
            for local, name in zip(writing.local[: binder.owned], binder.names, strict=False)
        )
        arguments = as_items(binder.arguments)
        values = f"(*{OURS}read({owner}), {arguments})" if binder.owned else f"({arguments})"
        source = _CALL.format(
            head=f", {binder.head}" if binder.head else "",
            own=own,
            misses="KeyError, TypeError, AttributeError" if own else "KeyError, TypeError",
            lookup=writing.lookup,
            kept=self._kept,
            owner=owner if binder.owner else "None",
            values=values,
        )
        return binder.compile(source, **self._names)

    def asking(self) -> Callable[[tuple[object, ...]], Ask[Any]]:
        """A function from values to what is asked for."""
        source = _ASKING.format(several=self._writing.several, ask=self._ask(1))
        return self._binder.compile(source, **self._names)

    def sweep(self) -> Callable[[object, list[object]], tuple[list[Any], list[Ask[Any]], list[int]]]:
        """A function from an owner and items to what memory has of them, what is to be asked for, and where."""
        binder, writing = self._binder, self._writing
        own, taken = "", f"{writing.several} = {OURS}take({OURS}owner, {OURS}item)"
        if len(binder.arguments) == 1:
            *owned, name = writing.local
            own = f"({as_items(tuple(owned))}) = {OURS}read({OURS}owner)" if owned else ""
            taken = f"{name} = {OURS}item"
        source = _SWEEP.format(own=own, taken=taken, lookup=writing.lookup, kept=self._kept, ask=self._ask(2))
        return binder.compile(source, **self._names)

    def _ask(self, depth: int) -> str:
        writing = self._writing
        tags = tuple(f"{OURS}tag_{place}" for place in range(len(writing.tags)))
        given = "; ".join(f"{tag} = {source}" for tag, source in zip(tags, writing.tags, strict=True))
        source = _ASK.format(
            guard=writing.guard,
            name=writing.name,
            tags=given,
            fits=writing.fits,
            tagged=_each_once(tags),
            several=writing.several,
            raw=writing.raw,
        )
        return textwrap.indent(source, "    " * depth)


def _each_once(tags: tuple[str, ...]) -> str:
    """Source of the tuple of these, in which none is twice."""
    several = f"({as_items(tags)})"
    if len(tags) < 2:  # noqa: PLR2004 - one is always once
        return several
    if len(tags) == 2:  # noqa: PLR2004 - two are compared faster than put into a dict
        return f"({several} if {tags[0]} != {tags[1]} else ({tags[0]},))"
    return f"{OURS}tuple({OURS}dict.fromkeys({several}))"
