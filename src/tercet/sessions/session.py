"""A session as its user sees it, where it is used, and the rules by which it lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from tercet.errors import SettingInvalid
from tercet.units import seconds

if TYPE_CHECKING:
    from tercet.sessions.token import UserId

T = TypeVar("T")

# A use is written down only when the last one that was is older than this part of the idle time. So reading is
# nearly always only reading, and a session that is not used ends up to a tenth of the idle time early.
TOUCH_PART = 0.1

# A name for a browser is shorter; a longer one is cut, because it comes from outside and must not hurt.
DEVICE_CHARACTERS = 256

# An IPv6 address with its zone is shorter.
IP_CHARACTERS = 64

# Longer is a mistake in units, and Redis refuses expiries that overflow.
LIFE_SECONDS_MAX = 3_650 * 86_400.0

# An id that was replaced longer ago is not needed by any request that is still under way.
GRACE_SECONDS_MAX = 600.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Session(Generic[T]):
    """One login, or one visit before it; `id` is the secret for the cookie, and is never shown.

    `data` is yours to change, and is kept by save(). `user_id` is None before a login. `handle` names the
    session in a list, also to its user; it lets nobody in. `former` says that it was found under an id that has
    been replaced a moment ago: the request goes on, and sets no cookie. Times are the server's.
    """

    id: str = field(repr=False)
    handle: str
    user_id: UserId | None = field(repr=False)
    data: T = field(repr=False)
    device: str = field(repr=False)
    ip: str = field(repr=False)
    created: datetime
    seen: datetime
    # It ends here at the latest, whatever is done; unused it ends sooner.
    ends: datetime
    version: int
    former: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """One session in the list of a user's; without its id, and with the handle by which it can be revoked."""

    handle: str
    device: str
    ip: str = field(repr=False)
    created: datetime
    seen: datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """How long sessions live, in milliseconds of the server's clock."""

    idle: int
    absolute: int
    grace: int
    # Whether a replayed id ends the session that it once was.
    revoke_replayed: bool

    @property
    def touch(self) -> int:
        """How old the last use that was written down may be before the next is."""
        return int(self.idle * TOUCH_PART)


def rules(*, idle: str | float, absolute: str | float, grace: str | float, replayed: str) -> Rules:
    """The rules that these words mean; raises SettingInvalid."""
    lives = _span("absolute", absolute, least=1.0, most=LIFE_SECONDS_MAX)
    unused = _span("idle", idle, least=1.0, most=LIFE_SECONDS_MAX)
    if unused > lives:
        raise SettingInvalid(
            "idle", where="Sessions", shown=repr(idle), wanted=f"no longer than absolute, which is {absolute!r}"
        )
    chosen = choice("replayed", replayed, ("refuse", "revoke"))
    grace_ms = _span("grace", grace, least=0.0, most=GRACE_SECONDS_MAX)
    return Rules(unused, lives, grace_ms, chosen == "revoke")


def choice(name: str, given: str, known: tuple[str, ...]) -> str:
    """The word that was given, where it is one of those known; raises SettingInvalid."""
    if given not in known:
        wanted = " or ".join(repr(one) for one in known)
        raise SettingInvalid(name, where="Sessions", shown=repr(given), wanted=wanted)
    return given


def moment(ms: int) -> datetime:
    """A time of the server's as a moment; a clock that is beyond every calendar counts as its last day."""
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _span(name: str, given: str | float, *, least: float, most: float) -> int:
    wanted = f"a time such as '30m', from {least:g} to {most:g} s"
    try:
        value = seconds(given)
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingInvalid(name, where="Sessions", shown=repr(given), wanted=wanted) from error
    if not least <= value <= most:
        raise SettingInvalid(name, where="Sessions", shown=repr(given), wanted=wanted)
    return int(value * 1000)
