"""What a cache is made of: its settings as people write them, the wire that is meant, and the shelf on it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, TypeGuard

from tercet.errors import SettingInvalid
from tercet.units import seconds, size_bytes

if TYPE_CHECKING:
    from tercet.cache.port import Home
    from tercet.cache.shelf import Shelf
    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
    from tercet.wire import Wire


def deadline_of(given: str | float) -> float:
    """What a read may cost, in seconds."""
    try:
        return seconds(given)
    except ValueError as error:
        raise SettingInvalid("deadline", where="Cache", shown=repr(given), wanted="a time such as '50ms'") from error


def wire_of(source: object, *, deadline: float, clock: Clock, telemetry: Telemetry) -> tuple[Wire | None, Wire | None]:
    """The wire that `source` means, and the same again if it was made here and has to be closed here."""
    if source is None:
        return None, None
    if is_home(source):
        return source.wire, None
    from tercet.wire import Wire  # noqa: PLC0415 - a cache in memory needs none

    if isinstance(source, str):
        made = Wire.at(source, deadline=deadline, clock=clock, telemetry=telemetry)
    elif hasattr(source, "execute_command"):
        made = Wire(lambda: source, deadline=deadline, clock=clock, telemetry=telemetry)
    else:
        raise SettingInvalid(
            "source",
            where="Cache",
            shown=f"a {type(source).__name__}",
            wanted="a Tercet, a redis.asyncio client, a URL such as redis://localhost, or None for memory only",
        )
    return made, made


def shelf_of(wire: Wire | None, *, namespace: str, deadline: float, clock: Clock, telemetry: Telemetry) -> Shelf | None:
    """The shelf on a wire: the one place where the room chooses its edge, loaded when wanted."""
    if wire is None:
        return None
    from tercet.cache.shelf.redis import RedisShelf  # noqa: PLC0415 - see above

    return RedisShelf(wire, namespace=namespace, deadline=deadline, clock=clock, telemetry=telemetry)


def is_home(source: object) -> TypeGuard[Home]:
    """Whether this has what a Tercet has; its wire is not touched, which need not be open yet."""
    absent, static = object(), inspect.getattr_static
    return static(source, "wire", absent) is not absent and all(
        hasattr(source, name) or static(source, name, absent) is not absent for name in ("clock", "telemetry")
    )


def count_of(given: object) -> int:
    """How many entries memory may hold."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise SettingInvalid("memory_entries", where="Cache", shown=repr(given), wanted="a whole number, 0 for none")
    return given


def size_of(given: str | int) -> int:
    """How many bytes memory may hold."""
    try:
        return size_bytes(given)
    except ValueError as error:
        raise SettingInvalid("memory_size", where="Cache", shown=repr(given), wanted="a size such as '64MB'") from error
