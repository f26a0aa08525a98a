"""The program is wrong; running it again will not help."""

from __future__ import annotations

from tercet.errors.tree import UsageError


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


class EntityInvalid(UsageError):
    """A field of an entity, or the entity itself, is declared as it cannot be read or written; `what` says which."""

    def __init__(self, what: str, *, reason: str, mend: str) -> None:
        super().__init__(f"{what} cannot be so: {reason}.", mend)
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


class PublicationUnsafe(UsageError):
    """A set-up of a feed would make PostgreSQL refuse what the program itself writes; nothing was changed.

    `problems` says of each table what would happen, and the mend.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"A feed cannot be set up as it was asked for:{listed}\n", "Nothing was changed.")
        self.problems = problems


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
