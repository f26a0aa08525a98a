"""Every error that tercet raises, in one tree.

    TercetError                  .says .mend .retryable
    ├── UsageError               the program is wrong; running it again will not help
    │   ├── SettingUnknown       a name nobody knows, with the nearest one that exists
    │   ├── SettingInvalid       a value that cannot be meant, with what would be
    │   ├── SettingsUnreadable   tercet.toml is broken: where, and what is wrong there
    │   ├── ExtraMissing         a package that this feature needs is not installed
    │   ├── StoreMissing         a feature was used whose store this Tercet does not have
    │   ├── BudgetExceeded       the pools asked for do not fit into the server
    │   ├── NotOpen              used before it was opened or after it was closed
    │   ├── WrongLoop            used from another event loop or process than it was opened in
    │   ├── TemplateMismatch     a tag or key names a parameter that the function does not have
    │   ├── SqlInvalid           PostgreSQL's grammar refuses this text
    │   ├── SchemaInvalid        a name, an index or a view that PostgreSQL would refuse
    │   ├── DocumentInvalid      a text is not the document it should be (a plan, a ladder)
    │   ├── NotComparable        a value has no form in which two answers could be compared
    │   ├── CommandInvalid       a command that cannot be sent, or not on a connection that is shared
    │   ├── LayerUnknown         a cache layer nobody knows, with the nearest one that exists
    │   ├── Unkeyable            an argument of which no cache key can be made
    │   ├── Uncacheable          a type or value that would not come back from a cache as it went in
    │   └── SessionDataInvalid   what a session cannot carry: too large, or not what it was when it comes back
    ├── StoreError               .store; a store did not do what it was asked
    │   ├── ServerMissing        no server to start: not given, not on PATH, not in a wheel
    │   ├── ServerFailed         a server of ours did not come up, with the end of its log
    │   ├── StoreUnreachable     retryable; nobody answers
    │   ├── LoginRefused         the store answers and does not let us in
    │   ├── PoolExhausted        retryable; .size .waited .held .holder
    │   ├── DeadlinePassed       retryable; the store was too slow
    │   ├── CommandRefused       .code .reason; Redis answered a command with an error
    │   └── DefinitionMismatch   an index or view of that name exists and is another one
    └── Refused                  tercet itself says no
        ├── FolderBusy           another process holds this folder
        ├── LockBusy             retryable; somebody else is doing it right now
        ├── LoadTimeout          retryable; a cached function takes longer than its callers wait
        ├── RateExceeded         retryable; more was asked for than a limit allows: .retry_after
        ├── SessionConflict      somebody else has changed the session since it was read
        ├── SessionGone          the session has ended: revoked, expired, or never was
        ├── LockLost             retryable; .name .token: a lock ended under the work that it guarded
        ├── FencedOff            retryable; .name .token .newest: somebody has had the lock since
        └── ProofFailed          .verdict: not faster, or not the same rows

An error's facts are its fields; its sentence is built from them, and a second sentence says how to mend it.
No secret enters one: addresses are masked before they get here.
"""

from __future__ import annotations

from typing import Any

from tercet.units import duration


class TercetError(Exception):
    """Anything that tercet raises; `says` is what happened and `mend` what to do about it."""

    retryable = False

    def __init__(self, says: str, mend: str = "") -> None:
        super().__init__(says, mend)
        self.says = says
        self.mend = mend

    def __str__(self) -> str:
        # A quoted log ends its own line.
        gap = "" if self.says.endswith("\n") else " "
        return f"{self.says}{gap}{self.mend}".rstrip()

    # A leaf takes keywords, which the default pickling of exceptions would lose.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[TercetError], args: tuple[Any, ...], fields: dict[str, Any]) -> TercetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class UsageError(TercetError):
    """The program is wrong; running it again will not help."""


class SettingUnknown(UsageError):
    """A setting nobody knows; `near` is the one that was probably meant."""

    def __init__(self, name: str, *, where: str, near: str | None, known: tuple[str, ...] = ()) -> None:
        listed = f"Known are: {', '.join(known)}." if known else ""
        mend = f"Did you mean {near!r}?" if near else listed
        super().__init__(f"{where} sets {name!r}, which tercet does not know.", mend)
        self.name, self.where, self.near = name, where, near


class SettingInvalid(UsageError):
    """A setting whose value cannot be meant; `shown` is the value with its secrets masked."""

    def __init__(self, name: str, *, where: str, shown: str, wanted: str) -> None:
        super().__init__(f"{where} sets {name} to {shown}.", f"It should be {wanted}.")
        self.name, self.where, self.shown, self.wanted = name, where, shown, wanted


class SettingsUnreadable(UsageError):
    """The file of settings cannot be read; `at` says where in it, as far as that is known."""

    def __init__(self, path: str, *, at: str, reason: str) -> None:
        place = f" at {at}" if at else ""
        super().__init__(f"{path} cannot be read{place}: {reason}.", "Correct the file; nothing of it was used.")
        self.path, self.at, self.reason = path, at, reason


class ExtraMissing(UsageError):
    """A package that this feature needs is not installed; `extra` brings it."""

    def __init__(self, feature: str, *, module: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the module {module}, which is not installed.",
            f"Install it with: pip install 'tercet[{extra}]'",
        )
        self.feature, self.module, self.extra = feature, module, extra


class StoreMissing(UsageError):
    """A feature was used whose store this Tercet was opened without."""

    def __init__(self, store: str, *, feature: str) -> None:
        super().__init__(
            f"{feature} needs {store}, and this Tercet was given none.",
            f"Pass {store}=… to Tercet, or set TERCET_{store.upper()}_URL.",
        )
        self.store, self.feature = store, feature


class BudgetExceeded(UsageError):
    """The pools asked for need more connections than the server gives out."""

    def __init__(self, store: str, *, wanted: int, available: int, instances: int, mend: str) -> None:
        super().__init__(
            f"{instances} instances with their pools need {wanted} {store} connections, "
            f"and the server has {available} to give.",
            mend,
        )
        self.store, self.wanted, self.available, self.instances = store, wanted, available, instances


class NotOpen(UsageError):
    """Something was used before it was opened, or after it was closed."""

    def __init__(self, what: str, *, closed: bool) -> None:
        state = "has been closed" if closed else "is not open yet"
        super().__init__(f"{what} {state}.", "Use it inside 'async with', or between open() and close().")
        self.what, self.closed = what, closed


class WrongLoop(UsageError):
    """Something was used in another event loop, or another process, than it was opened in."""

    def __init__(self, what: str, *, forked: bool) -> None:
        where = "process: it was opened before a fork" if forked else "event loop than the one it was opened in"
        super().__init__(
            f"{what} is used in another {where}.",
            "Connections cannot be carried over: open one of its own there.",
        )
        self.what, self.forked = what, forked


class TemplateMismatch(UsageError):
    """A tag or key template names a parameter that the function does not have."""

    def __init__(self, template: str, *, field: str, function: str, parameters: tuple[str, ...]) -> None:
        has = ", ".join(parameters) or "none"
        super().__init__(
            f"The template {template!r} names {field!r}, and {function}() has no such parameter.",
            f"It has: {has}.",
        )
        self.template, self.field, self.function, self.parameters = template, field, function, parameters


class LayerUnknown(UsageError):
    """A cache layer that does not exist; `near` is the one that was probably meant."""

    def __init__(self, name: str, *, near: str | None, known: tuple[str, ...]) -> None:
        mend = f"Did you mean {near!r}? " if near else ""
        super().__init__(f"There is no cache layer {name!r}.", f"{mend}The layers are: {', '.join(known)}.")
        self.name, self.near, self.known = name, near, known


class Unkeyable(UsageError):
    """An argument of which no cache key can be made: it may change, or has no written form of its own."""

    def __init__(self, kind: str, *, parameter: str, function: str, mend: str) -> None:
        super().__init__(f"No cache key can be made of {parameter!r} of {function}(): it is a {kind}.", mend)
        self.kind, self.parameter, self.function = kind, parameter, function


class Uncacheable(UsageError):
    """A type or value that would not come back from a cache as it went in; `what` says which."""

    def __init__(self, what: str, *, reason: str, mend: str) -> None:
        super().__init__(f"{what} cannot be cached: {reason}.", mend)
        self.what, self.reason = what, reason


class SessionDataInvalid(UsageError):
    """What a session cannot carry: it is too large, or would come back as something else."""

    def __init__(self, reason: str, *, mend: str) -> None:
        super().__init__(f"The data of a session cannot be kept: {reason}.", mend)
        self.reason = reason


class CommandInvalid(UsageError):
    """A command that cannot be sent, or not on a connection that others share; `reason` says why."""

    def __init__(self, name: str, *, reason: str) -> None:
        super().__init__(
            f"The command {name!r} cannot be sent: {reason}.",
            "Words are bytes, str, int or float; what needs a connection of its own goes through db.redis or block().",
        )
        self.name, self.reason = name, reason


class SqlInvalid(UsageError):
    """PostgreSQL's grammar refuses this text; `position` counts characters from 1."""

    def __init__(self, reason: str, *, position: int | None = None) -> None:
        at = f" at character {position}" if position else ""
        super().__init__(f"This is not PostgreSQL's SQL{at}: {reason}.", "Correct the statement.")
        self.reason, self.position = reason, position


class SchemaInvalid(UsageError):
    """A name, an index or a view that PostgreSQL would refuse, or would understand as another one."""

    def __init__(self, what: str, *, reason: str, mend: str) -> None:
        super().__init__(f"{what} cannot be: {reason}.", mend)
        self.what, self.reason = what, reason


class DocumentInvalid(UsageError):
    """A text is not the document it should be; `reason` says where it departs."""

    def __init__(self, wanted: str, *, reason: str, mend: str) -> None:
        super().__init__(f"This is not {wanted}: {reason}.", mend)
        self.wanted, self.reason = wanted, reason


class NotComparable(UsageError):
    """A value has no form in which two answers could be compared; `place` says where it stood."""

    def __init__(self, place: str, *, kind: str, mend: str = "") -> None:
        super().__init__(
            f"{place} is a {kind}, which has no form in which answers can be compared.",
            mend or "Turn it into numbers, texts, times, lists or dicts first.",
        )
        self.place, self.kind = place, kind


class StoreError(TercetError):
    """A store did not do what it was asked; `store` is postgres, mongo or redis."""

    store: str

    def __init__(self, store: str, says: str, mend: str = "") -> None:
        super().__init__(says, mend)
        self.store = store


class ServerMissing(StoreError):
    """There is no server to start: none given, none on PATH, none in a wheel."""

    def __init__(self, store: str, *, looked: tuple[str, ...], mend: str) -> None:
        super().__init__(store, f"No {store} server was found; looked at {', '.join(looked)}.", mend)
        self.looked = looked


class ServerFailed(StoreError):
    """A server that tercet started did not come up; `log` is the end of what it wrote."""

    def __init__(self, store: str, *, reason: str, log: str, log_path: str, mend: str = "") -> None:
        quoted = f" It wrote:\n{log}\n" if log else ""
        super().__init__(store, f"The {store} server did not start: {reason}.{quoted}", mend or f"Its log: {log_path}")
        self.reason, self.log, self.log_path = reason, log, log_path


class StoreUnreachable(StoreError):
    """Nobody answers at the store's address."""

    retryable = True

    def __init__(self, store: str, *, reason: str, address: str = "") -> None:
        at = f" at {address}" if address else ""
        super().__init__(
            store,
            f"{store}{at} does not answer: {reason}.",
            "It is used again by itself as soon as it is back.",
        )
        self.reason, self.address = reason, address


class LoginRefused(StoreError):
    """The store answers and does not let us in: the login, the database or the encryption is not right."""

    def __init__(self, store: str, *, reason: str, address: str = "") -> None:
        at = f" at {address}" if address else ""
        super().__init__(
            store,
            f"{store}{at} does not let us in: {reason}.",
            "Correct the address or the login; waiting will not help.",
        )
        self.reason, self.address = reason, address


class PoolExhausted(StoreError):
    """No connection came free in time; `holder` has held one longest, for `held` seconds."""

    retryable = True

    def __init__(self, store: str, *, size: int, waited: float, held: float | None, holder: str | None) -> None:
        says = f"No {store} connection came free within {duration(waited)}: all {size} are out."
        if held is not None and holder is not None:
            mend = (
                f"The longest has been held for {duration(held)} by {holder}: end it sooner, or allow more than {size}."
            )
        else:
            mend = f"Hold connections for a shorter time, or allow more than {size}."
        super().__init__(store, says, mend)
        self.size, self.waited, self.held, self.holder = size, waited, held, holder


class DeadlinePassed(StoreError):
    """The store took longer than it was given; whether a write took place is not known."""

    retryable = True

    def __init__(self, store: str, *, what: str, deadline: float) -> None:
        super().__init__(
            store,
            f"{store} did not finish {what} within {duration(deadline)}.",
            "Give it longer, or find out what it waits for.",
        )
        self.what, self.deadline = what, deadline


_MENDS = {
    "OOM": "Give Redis more memory (maxmemory), or let it evict (maxmemory-policy).",
    "NOPERM": "Allow the user of this connection the command and its keys (ACL SETUSER).",
    "READONLY": "It is a replica; the next command asks again which server is the primary.",
    "WRONGTYPE": "The key holds another kind of value: use another key, or delete what is there.",
    "NOPROTO": "Use Redis 6.2 or newer, or Valkey.",
}
# What may follow holds words of the command, which may be secret.
_ENDS_BEFORE = (", with args beginning with",)
# Enough for any sentence of Redis'; a script's own error may be of any length.
_REASON_CHARS = 200


class CommandRefused(StoreError):
    """Redis answered a command with an error; `code` is its first word (OOM, NOPERM, WRONGTYPE, ERR, …)."""

    def __init__(self, store: str, *, code: str, reason: str) -> None:
        for end in _ENDS_BEFORE:
            reason = reason.partition(end)[0]
        reason = reason[:_REASON_CHARS].rstrip(". ")
        super().__init__(store, f"{store} refused a command with {code}: {reason}.", _MENDS.get(code, ""))
        self.code, self.reason = code, reason


class DefinitionMismatch(StoreError):
    """An index or view of that name exists and is another one; neither was touched."""

    def __init__(self, kind: str, name: str, *, wanted: str, found: str) -> None:
        super().__init__(
            "postgres",
            f"The {kind} {name} exists and is another one: {found}.",
            f"Wanted was: {wanted}. Give one of them another name, or drop the old one.",
        )
        self.kind, self.name, self.wanted, self.found = kind, name, wanted, found


class Refused(TercetError):
    """tercet itself says no."""


class FolderBusy(Refused):
    """Another process holds this folder; `pid` and `command` say which."""

    def __init__(self, folder: str, *, pid: int | None, command: str | None) -> None:
        who = f"process {pid} ({command})" if pid and command else "another process"
        super().__init__(
            f"The folder {folder} is in use by {who}.",
            "Wait for it, choose another folder, or share its servers by starting them with 'tercet up'.",
        )
        self.folder, self.pid, self.command = folder, pid, command


class LockBusy(Refused):
    """Somebody else is doing the same thing right now; `what` is a noun phrase, `holder` says who.

    Where it was waited for, `waited` says how long, and `retry_after` when the holder's lease ends unless it is
    renewed; both are seconds.
    """

    retryable = True

    def __init__(
        self, what: str, *, holder: str | None = None, waited: float | None = None, retry_after: float | None = None
    ) -> None:
        by = f" by {holder}" if holder else ""
        if waited is None:
            says = f"is under way already{',' if by else ''}{by}."
            mend = "Nothing was changed; try again when it has ended."
        else:
            says = f"is held{by}" + (f", and did not come free within {duration(waited)}." if waited else ".")
            ends = f" in {duration(retry_after)}" if retry_after is not None else ""
            mend = f"Its lease ends{ends} unless it is renewed: come back then, or wait longer."
        super().__init__(f"{what[:1].upper()}{what[1:]} {says}", mend)
        self.what, self.holder, self.waited, self.retry_after = what, holder, waited, retry_after


class LockLost(Refused):
    """A lock has ended, or may have, under the work that it guarded; `token` is the number of its grant."""

    retryable = True

    def __init__(self, name: str, *, token: int, reason: str) -> None:
        super().__init__(
            f"The lock {name!r} (token {token}) was lost: {reason}.",
            "Somebody else may hold it now: trust nothing that was read under it, and take it anew.",
        )
        self.name, self.token, self.reason = name, token, reason


class FencedOff(Refused):
    """A store has seen a newer token of this lock, `newest`, and refuses what comes with an older one."""

    retryable = True

    def __init__(self, name: str, *, token: int, newest: int | None) -> None:
        seen = f"{newest} has been seen" if newest is not None else "a newer one has been seen"
        super().__init__(
            f"{name!r} refuses token {token}: {seen}.",
            "Somebody else has had the lock since: roll back, take it anew, and read everything again.",
        )
        self.name, self.token, self.newest = name, token, newest


class LoadTimeout(Refused):
    """A load takes longer than `limit` seconds; it goes on, and what it brings is kept."""

    retryable = True

    def __init__(self, what: str, *, limit: float) -> None:
        super().__init__(
            f"The load of {what} takes longer than {duration(limit)}.",
            "It goes on, and what it brings is kept: ask again, or allow a longer hard_timeout.",
        )
        self.what, self.limit = what, limit


class RateExceeded(Refused):
    """More was asked for than a limit allows; after `retry_after` seconds it passes."""

    retryable = True

    def __init__(self, limit: str, *, retry_after: float) -> None:
        # Whose limit it is stays out of the sentence: a key may be a person's address or a token.
        super().__init__(
            f"More than {limit} was asked for; this call was not counted.",
            f"Ask again in {duration(retry_after)}.",
        )
        self.limit, self.retry_after = limit, retry_after


class SessionConflict(Refused):
    """Somebody else has changed the session since it was read; `handle` names it, and lets nobody in."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            "Another request has changed this session since it was read; nothing was written.",
            "Load it again and repeat the change, or let sessions.change(session, how) do that.",
        )
        self.handle = handle


class SessionGone(Refused):
    """The session has ended since it was read; `handle` names it, and lets nobody in."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            "This session has ended: it was revoked or has expired; nothing was written.",
            "Treat the request as one without a login.",
        )
        self.handle = handle


class ProofFailed(Refused):
    """A way of answering was not faster, or did not give the same rows; `verdict` has both sides."""

    def __init__(self, says: str, *, verdict: object, mend: str = "") -> None:
        super().__init__(says, mend)
        self.verdict = verdict
