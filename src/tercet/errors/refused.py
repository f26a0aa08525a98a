"""tercet itself says no."""

from __future__ import annotations

from tercet.errors.tree import Refused
from tercet.units import duration


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


class BuildBlocked(Refused):
    """Old transactions stand in the way of a build, and have not ended; `blockers` says of each who it is.

    `left` is an invalid index that could not be dropped for the same reason.
    """

    retryable = True

    def __init__(self, what: str, *, blockers: tuple[str, ...], waited: float, end: str = "", left: str = "") -> None:
        listed = "".join(f"\n  {one}" for one in blockers)
        state = f"The next build takes away the invalid index {left}." if left else "Nothing was changed."
        first = f", or end the first: {end}" if end else ""
        super().__init__(
            f"{what[:1].upper()}{what[1:]} waits for others, who have not ended within {duration(waited)}:{listed}\n",
            f"{state} Let them end{first}; then try again.",
        )
        self.what, self.blockers, self.waited, self.left = what, blockers, waited, left


class AdviceStale(Refused):
    """Advice that was given for a database as it is no more; `reason` says what is different."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This advice does not hold any more: {reason}.", "Nothing was changed; ask anew: tercet advise"
        )
        self.reason = reason


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
