"""A store did not do what it was asked."""

from __future__ import annotations

from tercet.errors.tree import StoreError
from tercet.units import duration

# Enough for any sentence of Redis'; a script's own error may be of any length.
_REASON_CHARS = 200


# What may follow holds words of the command, which may be secret.
_ENDS_BEFORE = (", with args beginning with",)


_MENDS = {
    "OOM": "Give Redis more memory (maxmemory), or let it evict (maxmemory-policy).",
    "NOPERM": "Allow the user of this connection the command and its keys (ACL SETUSER).",
    "READONLY": "It is a replica; the next command asks again which server is the primary.",
    "WRONGTYPE": "The key holds another kind of value: use another key, or delete what is there.",
    "NOPROTO": "Use Redis 6.2 or newer, or Valkey.",
}


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


class CommitUnknown(StoreError):
    """The answer to a COMMIT was lost, and nobody could be asked; `xid` is PostgreSQL's number of the transaction."""

    def __init__(self, store: str, *, xid: int, reason: str) -> None:
        super().__init__(
            store,
            f"Whether transaction {xid} was committed is not known: {reason}.",
            f"Do not repeat it blindly: ask SELECT pg_xact_status('{xid}') once the server answers, "
            "or look for what it wrote.",
        )
        self.xid, self.reason = xid, reason


class CommandRefused(StoreError):
    """Redis answered a command with an error; `code` is its first word (OOM, NOPERM, WRONGTYPE, ERR, …)."""

    def __init__(self, store: str, *, code: str, reason: str) -> None:
        for end in _ENDS_BEFORE:
            reason = reason.partition(end)[0]
        reason = reason[:_REASON_CHARS].rstrip(". ")
        super().__init__(store, f"{store} refused a command with {code}: {reason}.", _MENDS.get(code, ""))
        self.code, self.reason = code, reason


class FeedBroken(StoreError):
    """What a feed was sent cannot be read; nothing from there on was handed on. `reason` holds no value of a row."""

    def __init__(self, store: str, *, reason: str) -> None:
        super().__init__(
            store,
            f"{store} has sent changes that cannot be read: {reason}.",
            "Nothing was skipped. Begin again from the last position; if it comes back, report it with this sentence.",
        )
        self.reason = reason


class DefinitionMismatch(StoreError):
    """An index or view of that name exists and is another one; neither was touched."""

    def __init__(self, kind: str, name: str, *, wanted: str, found: str) -> None:
        super().__init__(
            "postgres",
            f"The {kind} {name} exists and is another one: {found}.",
            f"Wanted was: {wanted}. Give one of them another name, or drop the old one.",
        )
        self.kind, self.name, self.wanted, self.found = kind, name, wanted, found


class StatisticsMissing(StoreError):
    """The server has counted no statements that could be looked at; `reason` says why."""

    def __init__(self, reason: str, *, mend: str) -> None:
        super().__init__("postgres", f"It is not known what is asked of this database: {reason}.", f"{mend}.")
        self.reason = reason


class EntityMissing(StoreError):
    """A store that an entity cannot do without has nothing under its key; the key is a fact and no part of the text."""

    def __init__(self, store: str, *, entity: str, source: str, key: object) -> None:
        super().__init__(
            store,
            f"There is no such {entity}: {source} has nothing under its key.",
            "Answer that it is not found; find() and load_many() tell it without an error.",
        )
        self.entity, self.source, self.key = entity, source, key


class FieldMismatch(StoreError):
    """What a store holds is not of the type that an entity's field has; `reason` says where, and shows no value."""

    def __init__(self, store: str, *, field: str, source: str, reason: str) -> None:
        super().__init__(
            store,
            f"{field} cannot be made of what {source} holds: {reason}.",
            "Correct what is stored there, or the type of the field; check() looks for more of the kind.",
        )
        self.field, self.source, self.reason = field, source, reason


class PositionLost(StoreError):
    """What was committed since a place's position can no longer be read: the store has thrown it away."""

    retryable = True

    def __init__(self, store: str, *, place: str, reason: str) -> None:
        super().__init__(
            store,
            f"{store} no longer has the changes that {place!r} has not read yet: {reason}.",
            "Whoever reads them begins anew, and whatever was made of them is made again (resync).",
        )
        self.place, self.reason = place, reason


class FeedRefused(StoreError):
    """The store does not tell its changes, or not to us; `mend` says what it is to be told first."""

    def __init__(self, store: str, *, reason: str, mend: str) -> None:
        super().__init__(store, f"{store} does not tell its changes: {reason}.", mend)
        self.reason = reason
