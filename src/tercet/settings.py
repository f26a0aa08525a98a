"""What a Tercet is told: read once from arguments, the environment and tercet.toml, then frozen.

One name everywhere: the argument postgres_pool_size=20, the variable TERCET_POSTGRES_POOL_SIZE and pool_size
in the table [postgres] of tercet.toml are one setting. Argument, environment, file, default: the first wins.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from tercet.address import Url, address_of, mask
from tercet.errors import SettingInvalid, SettingsUnreadable, SettingUnknown
from tercet.units import seconds

if TYPE_CHECKING:
    from tercet.telemetry.event import Store

__all__ = ["FILE", "PREFIX", "Origin", "SettingWords", "Settings", "Tls", "Url", "mask", "names"]

FILE = "tercet.toml"
PREFIX = "TERCET_"

_STORES = ("postgres", "mongo", "redis")

# How alike two names must be for one to be taken for the other; below it a hint would rather mislead.
_ALIKE = 0.8
# PostgreSQL cuts application_name off at 63 bytes.
_NAME_BYTES_MAX = 63
# Beyond these a number is a typing error, not a wish.
_COUNT_MAX = 1_000_000
_DURATION_SECONDS_MAX = 366 * 86_400.0

_LINE = re.compile(r"\s*\(at (?P<at>line \d+, column \d+|end of document)\)\s*$")

Reader = Callable[[object], object]


class _UnfitError(ValueError):
    """A value does not fit; its text says what would."""


def _address(store: str) -> Reader:
    def read(value: object) -> Url:
        try:
            return address_of(store, value)
        except ValueError as error:
            raise _UnfitError(str(error)) from None

    return read


def _addresses(store: str) -> Reader:
    one = _address(store)

    def read(value: object) -> tuple[Url, ...]:
        found = value.split() if isinstance(value, str) else value
        if not isinstance(found, list) or not found:
            raise _UnfitError("an address, or several with blanks in between or as a list")
        return tuple(cast("Url", one(each)) for each in found)

    return read


def _whole(least: int) -> Reader:
    wanted = f"a whole number from {least} to {_COUNT_MAX:,}"

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _COUNT_MAX:
            raise _UnfitError(wanted)
        return value

    return read


def _span(*, zero: bool = False) -> Reader:
    wanted = "a duration such as '250ms', '5s' or '1h 30m'" + (", or 0 for no limit" if zero else ", longer than 0")

    def read(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value, re.ASCII):
            value = float(value)
        if not isinstance(value, str | int | float):
            raise _UnfitError(wanted)
        try:
            span = seconds(value)
        except ValueError:
            raise _UnfitError(wanted) from None
        if span > _DURATION_SECONDS_MAX or (span == 0 and not zero):
            raise _UnfitError(wanted)
        return span

    return read


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise _UnfitError("true or false")


def _choice(*words: str) -> Reader:
    def read(value: object) -> str:
        if not isinstance(value, str) or value.strip() not in words:
            raise _UnfitError(f"one of {', '.join(words)}")
        return value.strip()

    return read


def _path(value: object) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value) or "\0" in os.fsdecode(value):
        raise _UnfitError("the path of a file")
    return os.fsdecode(value)


def _name(value: object) -> str:
    # Redis refuses blanks in a client's name, PostgreSQL replaces what is not ASCII.
    if not isinstance(value, str) or not re.fullmatch(rf"[!-~]{{1,{_NAME_BYTES_MAX}}}", value):
        raise _UnfitError(f"1 to {_NAME_BYTES_MAX} printable ASCII characters without blanks")
    return value


# How each setting is read; the settings' names are this table's.
_READERS: Mapping[str, Reader] = {
    "postgres_url": _address("postgres"),
    "postgres_replica_url": _addresses("postgres"),
    "postgres_pool_size": _whole(1),
    "postgres_pool_wait": _span(),
    "postgres_connect_timeout": _span(),
    "postgres_statement_timeout": _span(zero=True),
    "postgres_idle_timeout": _span(zero=True),
    "postgres_recycle": _span(),
    "postgres_pooler": _flag,
    "postgres_tls": _choice("disable", "prefer", "require", "verify-ca", "verify-full"),
    "postgres_tls_ca": _path,
    "postgres_critical": _flag,
    "mongo_url": _address("mongo"),
    "mongo_pool_size": _whole(1),
    "mongo_pool_wait": _span(),
    "mongo_connect_timeout": _span(),
    "mongo_timeout": _span(),
    "mongo_tls_ca": _path,
    "mongo_critical": _flag,
    "redis_url": _address("redis"),
    "redis_pool_size": _whole(1),
    "redis_pool_wait": _span(),
    "redis_connect_timeout": _span(),
    "redis_timeout": _span(),
    "redis_tls_ca": _path,
    "redis_critical": _flag,
    "instances": _whole(1),
    "application_name": _name,
    "close_wait": _span(zero=True),
    "readiness_failures": _whole(1),
    "readiness_successes": _whole(1),
}


Tls = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
Origin = Literal["argument", "environment", "file", "default"]


class SettingWords(TypedDict, total=False):
    """The settings as arguments; durations as people write them ("250ms") or in seconds."""

    postgres_url: str | None
    postgres_replica_url: str | list[str] | None
    postgres_pool_size: int | None
    postgres_pool_wait: str | float
    postgres_connect_timeout: str | float
    postgres_statement_timeout: str | float
    postgres_idle_timeout: str | float
    postgres_recycle: str | float
    postgres_pooler: bool
    postgres_tls: Tls | None
    postgres_tls_ca: str | None
    postgres_critical: bool
    mongo_url: str | None
    mongo_pool_size: int | None
    mongo_pool_wait: str | float
    mongo_connect_timeout: str | float
    mongo_timeout: str | float
    mongo_tls_ca: str | None
    mongo_critical: bool
    redis_url: str | None
    redis_pool_size: int | None
    redis_pool_wait: str | float
    redis_connect_timeout: str | float
    redis_timeout: str | float
    redis_tls_ca: str | None
    redis_critical: bool
    instances: int
    application_name: str
    close_wait: str | float
    readiness_failures: int
    readiness_successes: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its value; durations are seconds. Made by `Settings.read`, which checks."""

    postgres_url: Url | None = None
    # Each is one server that follows the primary; a reader's token is checked against that very server.
    postgres_replica_url: tuple[Url, ...] = ()
    # None: computed from `instances` and what the server has to give.
    postgres_pool_size: int | None = None
    # Longer than a caller's patience is no use: an exhausted pool must say so while somebody still listens.
    postgres_pool_wait: float = 5.0
    postgres_connect_timeout: float = 5.0
    # One statement; longer work asks for it where it is done: transaction(within="10m").
    postgres_statement_timeout: float = 30.0
    # A transaction that does nothing holds locks and keeps dead rows from being cleaned away.
    postgres_idle_timeout: float = 60.0
    # Connections are renewed before firewalls and memory growth of a backend make themselves felt.
    postgres_recycle: float = 900.0
    postgres_pooler: bool = False
    postgres_tls: str | None = None
    postgres_tls_ca: str | None = None
    postgres_critical: bool = True

    mongo_url: Url | None = None
    mongo_pool_size: int | None = None
    mongo_pool_wait: float = 5.0
    mongo_connect_timeout: float = 5.0
    # One operation with all its retries; more is asked for with pymongo.timeout(…) around it.
    mongo_timeout: float = 30.0
    mongo_tls_ca: str | None = None
    mongo_critical: bool = True

    redis_url: Url | None = None
    redis_pool_size: int | None = None
    redis_pool_wait: float = 5.0
    redis_connect_timeout: float = 5.0
    redis_timeout: float = 5.0
    redis_tls_ca: str | None = None
    redis_critical: bool = True

    instances: int = 1
    application_name: str = "tercet"
    # How long close() waits for callers that still hold a connection, before it takes it from them.
    close_wait: float = 5.0
    # One slow answer must not take a service out of rotation, nor one good answer bring it back.
    readiness_failures: int = 3
    readiness_successes: int = 2

    # Which setting comes from where, and nothing else.
    origins: tuple[tuple[str, Origin], ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def read(
        cls,
        arguments: Mapping[str, object] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Settings:
        """The settings out of arguments, environment, tercet.toml in `folder` (here) and defaults.

        An argument of None and an empty variable count as not given; so does a file that is not there.
        """
        given: dict[str, tuple[Origin, str, object]] = {}
        given.update(_from_file((Path.cwd() if folder is None else folder) / FILE))
        given.update(_from_environment(os.environ if environ is None else environ))
        given.update(_from_arguments(arguments or {}))
        values = {name: _checked(name, where, value) for name, (_, where, value) in given.items()}
        origins = tuple((name, given[name][0] if name in given else "default") for name in names())
        return cls(**values, origins=origins)  # type: ignore[arg-type] # each value went through its own reader

    def at(self, addresses: Mapping[Store, str]) -> Settings:
        """The same settings with these stores at these addresses."""
        urls = {f"{store}_url": _checked(f"{store}_url", "An address", text) for store, text in addresses.items()}
        return replace(self, **cast("dict[str, Any]", urls))

    def url(self, store: str) -> Url | None:
        """The address of one store, or None if it is not used."""
        return cast("Url | None", getattr(self, f"{store}_url"))

    @property
    def replicas(self) -> tuple[Settings, ...]:
        """The same settings once for each replica of PostgreSQL, with its address as PostgreSQL's."""
        return tuple(replace(self, postgres_url=url, postgres_replica_url=()) for url in self.postgres_replica_url)

    def pool_size(self, store: str) -> int | None:
        """The size asked for of one store's pool, or None if it is to be computed."""
        return cast("int | None", getattr(self, f"{store}_pool_size"))

    def critical(self, store: str) -> bool:
        """Whether the program cannot do its work while this store is away."""
        return cast("bool", getattr(self, f"{store}_critical"))

    @property
    def stores(self) -> tuple[str, ...]:
        """The stores that have an address."""
        return tuple(store for store in _STORES if self.url(store) is not None)


def names() -> tuple[str, ...]:
    """Every setting's name, in the order in which they are documented."""
    return tuple(_READERS)


def _checked(name: str, where: str, value: object) -> object:
    try:
        return _READERS[name](value)
    except _UnfitError as unfit:
        shown = repr(mask(value)) if isinstance(value, str) else mask(repr(value))
        raise SettingInvalid(name, where=where, shown=shown, wanted=str(unfit)) from None


def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)), None)


def _from_arguments(arguments: Mapping[str, object]) -> dict[str, tuple[Origin, str, object]]:
    known = (*names(), *_STORES)
    given: dict[str, tuple[Origin, str, object]] = {}
    for name, value in arguments.items():
        if name not in known:
            raise SettingUnknown(name, where="An argument", near=_nearest(name, known), known=known)
        if value is not None:
            setting = f"{name}_url" if name in _STORES else name
            given[setting] = ("argument", f"The argument {name}", value)
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Origin, str, object]]:
    known = names()
    ours = tuple(f"{store}_" for store in _STORES)
    given: dict[str, tuple[Origin, str, object]] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or not value:
            continue
        name = variable.removeprefix(PREFIX).lower()
        near = _nearest(name, known)
        if name in known:
            given[name] = ("environment", f"The environment variable {variable}", value)
        # Other parts have variables of their own; only what looks like a setting is answered for.
        elif near or name.startswith(ours):
            variables = tuple(PREFIX + one.upper() for one in known)
            nearest = PREFIX + near.upper() if near else None
            raise SettingUnknown(variable, where="The environment", near=nearest, known=variables)
    return given


def _from_file(path: Path) -> dict[str, tuple[Origin, str, object]]:
    known = names()
    given: dict[str, tuple[Origin, str, object]] = {}
    for key, value in _tables(path).items():
        if not isinstance(value, dict):
            given[_known_key(path, key, "", known)] = ("file", str(path), value)
        elif key in _STORES:
            for inner, one in value.items():
                given[_known_key(path, inner, key, known)] = ("file", f"{path} [{key}]", one)
        # Tables of other parts are theirs; a misspelt one of ours is not let pass.
        elif near := _nearest(key, _STORES):
            raise SettingUnknown(f"[{key}]", where=str(path), near=f"[{near}]")
    return given


def _known_key(path: Path, key: str, table: str, known: tuple[str, ...]) -> str:
    name = f"{table}_{key}" if table else key
    if name in known:
        return name
    prefix = f"{table}_" if table else ""
    keys = tuple(
        one.removeprefix(prefix)
        for one in known
        if (one.startswith(prefix) if table else one.partition("_")[0] not in _STORES)
    )
    where = f"{path} [{table}]" if table else str(path)
    raise SettingUnknown(key, where=where, near=_nearest(key, keys), known=keys)


def _tables(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        at = _LINE.search(text)
        raise SettingsUnreadable(str(path), at=at["at"] if at else "", reason=_LINE.sub("", text)) from None
    except UnicodeDecodeError as error:
        raise SettingsUnreadable(str(path), at=f"byte {error.start}", reason="it is not UTF-8") from None
    except OSError as error:
        raise SettingsUnreadable(str(path), at="", reason=error.strerror or type(error).__name__) from None
