"""Sessions: who is logged in, by a secret in a cookie."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload

from tercet.errors import DeadlinePassed, SessionConflict, SessionGone, StoreUnreachable, UsageError
from tercet.sessions.data import DATA_BYTES, Data, Misfit
from tercet.sessions.port import Renewal
from tercet.sessions.session import (
    DEVICE_CHARACTERS,
    IP_CHARACTERS,
    Device,
    Session,
    choice,
    moment,
    rules,
)
from tercet.sessions.token import is_handle, mint, owner_of, read, user_bytes, user_of
from tercet.telemetry import SessionRefused, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tercet.sessions.port import Answer, Record, Register
    from tercet.sessions.token import Token, UserId
    from tercet.wire import Wire

T = TypeVar("T")

# A change that is overtaken as often as this meets a client that writes all the time.
CHANGE_TRIES = 8


class Sessions(Generic[T]):
    """Sessions with data of one type, in Redis.

    `idle` ends one that is not used, `absolute` any. `grace` is how long an id works on after it was replaced,
    for requests that were under way. `replayed` says what an id does after that: "refuse" finds nothing,
    "revoke" also ends the session, since two have had the id. Data of another shape is no session, or is
    `default()` where one is given. With `when_away="none"` nobody is logged in while Redis is away; otherwise
    load() raises. Two applications share sessions if, and only if, they share the namespace.
    """

    @overload
    def __init__(
        self: Sessions[dict[str, Any]],
        wire: Wire,
        *,
        default: Callable[[], dict[str, Any]] | None = None,
        idle: str | float = "30m",
        absolute: str | float = "14d",
        grace: str | float = "10s",
        replayed: Literal["refuse", "revoke"] = "refuse",
        when_away: Literal["raise", "none"] = "raise",
        data_max: str | int = DATA_BYTES,
        namespace: str = "tercet",
        telemetry: Telemetry | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        wire: Wire,
        *,
        type: type[T],
        default: Callable[[], T] | None = None,
        idle: str | float = "30m",
        absolute: str | float = "14d",
        grace: str | float = "10s",
        replayed: Literal["refuse", "revoke"] = "refuse",
        when_away: Literal["raise", "none"] = "raise",
        data_max: str | int = DATA_BYTES,
        namespace: str = "tercet",
        telemetry: Telemetry | None = None,
    ) -> None: ...

    def __init__(
        self,
        wire: Wire,
        *,
        type: type[Any] = dict,  # noqa: A002 - the word that is used wherever one is asked for
        default: Callable[[], Any] | None = None,
        idle: str | float = "30m",
        absolute: str | float = "14d",
        grace: str | float = "10s",
        replayed: Literal["refuse", "revoke"] = "refuse",
        when_away: Literal["raise", "none"] = "raise",
        data_max: str | int = DATA_BYTES,
        namespace: str = "tercet",
        telemetry: Telemetry | None = None,
    ) -> None:
        self._rules = rules(idle=idle, absolute=absolute, grace=grace, replayed=replayed)
        self._none_when_away = choice("when_away", when_away, ("raise", "none")) == "none"
        self._data: Data[T] = Data(type, default=default, largest=data_max)
        self._telemetry = telemetry if telemetry is not None else Telemetry()
        self._register = _register(wire, namespace)

    async def create(
        self, *, user_id: UserId | None = None, data: T | None = None, device: str | None = None, ip: str | None = None
    ) -> Session[T]:
        """Begin a session; its `.id` goes into the cookie and is not to be had again from anywhere.

        Without a user_id it is a visit, which rotate() makes a login. Who was visiting already must be rotated
        and not created: the old id would live on.
        """
        user = b"" if user_id is None else user_bytes(user_id)
        body = self._data.encode(self._data.start() if data is None else data)
        token = mint(user)
        with self._told("create"):
            answer = await self._register.create(
                token, user, body, _text(device, DEVICE_CHARACTERS), _text(ip, IP_CHARACTERS), self._rules
            )
        return self._session(token, answer)

    async def load(self, token: str | None) -> Session[T] | None:
        """The session with this id, or None; whatever the cookie held, nothing is made by it."""
        try:
            return await self._load(token)
        except (StoreUnreachable, DeadlinePassed):
            if self._none_when_away:
                return None
            raise

    async def save(self, session: Session[T]) -> None:
        """Keep session.data as it is now.

        Raises SessionConflict where another request has saved since it was read, and SessionGone where the session
        has ended: a late request brings nothing back.
        """
        await self._save(session, session.data)

    async def update(self, session: Session[T], data: T) -> None:
        """Keep this in place of session.data; raises as save() does, and then changes nothing."""
        await self._save(session, data)
        session.data = data

    async def change(self, session: Session[T], how: Callable[[T], T]) -> None:
        """Keep what `how` makes of the data that is there now; again where another request was quicker.

        It may be called several times, each time with data that was just read. Raises SessionGone, and
        SessionConflict after 8 tries.
        """
        for _ in range(CHANGE_TRIES):
            newest = await self._load(session.id)
            if newest is None:
                raise SessionGone(session.handle)
            try:
                await self.update(newest, how(newest.data))
            except SessionConflict:
                continue
            session.data, session.version, session.seen = newest.data, newest.version, newest.seen
            return
        raise SessionConflict(session.handle)

    async def rotate(
        self, session: Session[T], *, user_id: UserId | None = None, data: T | None = None, at_once: bool = False
    ) -> Session[T]:
        """The same session under another id, which goes into the cookie; `session` is not to be used any more.

        The old id works on for the grace time, unless `at_once`. With a user_id it is a login: the old id ends at
        once, the absolute time begins anew, and a visit's data goes over to the user; that of another user does
        not. What is not saved yet is not kept, unless it is passed as `data`.

        Where another request has replaced the id within the grace time, its session is returned as it was found,
        `.former`: there is no new id, and no cookie to set. Raises SessionGone and SessionConflict.
        """
        token = _token(session)
        login = user_id is not None
        user = user_bytes(user_id) if login else b""
        body = b"" if data is None else self._data.encode(data)
        if login and owner_of(user) != token.owner:
            return await self._move(session, token, user, body)
        renewal = Renewal(token.renewed(), login, at_once, body, session.version)
        with self._told("rotate"):
            answer = await self._register.rotate(token, renewal, self._rules)
        self._alive(session, token, answer)
        return self._known(session, renewal.token if answer.state == "live" else token, answer)

    async def revoke(self, session: Session[T] | str) -> bool:
        """End this session, given itself or its id; whether it was alive."""
        token = read(session.id if isinstance(session, Session) else session)
        if token is None:
            return False
        with self._told("revoke"):
            answer = await self._register.take(token, None, self._rules)
        self._refused(token, answer)
        return answer.state in ("done", "revoked")

    async def revoke_device(self, handle: str, *, user_id: UserId) -> bool:
        """End the session of this user that has this handle; whether there was one.

        The handle may come from a form: another user's is not found.
        """
        owner = owner_of(user_bytes(user_id))
        if not is_handle(handle):
            return False
        with self._told("revoke"):
            return await self._register.revoke(owner, handle)

    async def revoke_all(self, *, user_id: UserId, except_: Session[T] | None = None) -> int:
        """End every session of this user, but the one that is excepted; how many there were.

        One write ends them all, whatever their number.
        """
        owner = owner_of(user_bytes(user_id))
        keep = None if except_ is None else _token(except_)
        if keep is not None and keep.owner != owner:
            raise UsageError("except_ is a session of another user.", "Pass a session of this user_id, or none.")
        with self._told("revoke_all"):
            return await self._register.revoke_all(owner, "" if keep is None else keep.handle)

    async def devices(self, *, user_id: UserId) -> list[Device]:
        """Where this user is logged in, the latest first; `seen` is up to a tenth of the idle time behind."""
        with self._told("devices"):
            listed = await self._register.devices(owner_of(user_bytes(user_id)), self._rules)
        listed.sort(key=lambda one: (-one.seen, -one.born, one.handle))
        return [
            Device(one.handle, _shown(one.device), _shown(one.ip), moment(one.born), moment(one.seen)) for one in listed
        ]

    async def _load(self, text: str | None) -> Session[T] | None:
        token = read(text)
        if token is None:
            return None
        with self._told("load"):
            answer = await self._register.load(token, self._rules)
        if answer.record is None:
            self._refused(token, answer)
            return None
        try:
            return self._session(token, answer)
        except Misfit:
            self._telemetry.tell(SessionRefused("misfit", token.handle))
            return None

    async def _save(self, session: Session[T], data: T) -> None:
        token = _token(session)
        body = self._data.encode(data)
        with self._told("save"):
            answer = await self._register.save(token, body, session.version, self._rules)
        record = self._alive(session, token, answer)
        session.version, session.seen = record.version, moment(record.seen)

    async def _move(self, session: Session[T], token: Token, user: bytes, body: bytes) -> Session[T]:
        """A session of the user, made before the old one ends.

        The two may lie on two servers. Of what a crash leaves in between, the new one has an id that nobody was
        ever told, and the old one is what it was.
        """
        with self._told("rotate"):
            found = await self._register.load(token, self._rules)
            before = self._alive(session, token, found)
            if body and before.version != session.version:
                raise SessionConflict(session.handle)
            # A visit's basket is its visitor's; what another user kept is not shown to this one.
            body = body or (self._data.encode(self._data.start()) if before.user else before.data)
            new = mint(user)
            answer = await self._register.create(new, user, body, before.device, before.ip, self._rules)
            taken = await self._register.take(token, before.version, self._rules)
            if taken.state != "done":
                await self._register.revoke(new.owner, new.handle)
                self._ended(session, token, taken)
        return self._known(session, new, answer)

    def _session(self, token: Token, answer: Answer) -> Session[T]:
        record = answer.record
        assert record is not None  # noqa: S101 - whoever calls this has looked
        return Session(
            id=token.text,
            handle=token.handle,
            user_id=user_of(record.user),
            data=self._data.decode(record.data),
            device=_shown(record.device),
            ip=_shown(record.ip),
            created=moment(record.born),
            seen=moment(record.seen),
            ends=moment(record.born + self._rules.absolute),
            version=record.version,
            former=answer.state == "former",
        )

    def _known(self, session: Session[T], token: Token, answer: Answer) -> Session[T]:
        """As _session; another release may have written another shape in between."""
        try:
            return self._session(token, answer)
        except Misfit as error:
            raise SessionGone(session.handle) from error

    def _alive(self, session: Session[T], token: Token, answer: Answer) -> Record:
        if answer.record is None:
            self._ended(session, token, answer)
        return answer.record

    def _ended(self, session: Session[T], token: Token, answer: Answer) -> NoReturn:
        self._refused(token, answer)
        if answer.state == "conflict":
            raise SessionConflict(session.handle)
        raise SessionGone(session.handle)

    def _refused(self, token: Token, answer: Answer) -> None:
        if answer.state in ("replayed", "revoked"):
            self._telemetry.tell(SessionRefused("replayed", token.handle, revoked=answer.state == "revoked"))

    def _told(self, name: str) -> AbstractContextManager[None]:
        return self._telemetry.operation("sessions", name, store="redis") if self._telemetry.heard else nullcontext()


def _register(wire: Wire, namespace: str) -> Register:
    """The edge of this room, loaded when it is wanted: it needs a driver."""
    from tercet.sessions.redis import RedisRegister  # noqa: PLC0415 - see above

    return RedisRegister(wire, namespace=namespace)


def _token(session: Session[T]) -> Token:
    token = read(session.id)
    if token is None:
        raise UsageError("This session has an id that tercet did not make.", "Use sessions as they were returned.")
    return token


def _text(given: str | None, characters: int) -> bytes:
    """What came from outside, cut to its length; a header may be absent, or hold half a character."""
    return (given or "")[:characters].encode("utf-8", "replace")


def _shown(kept: bytes) -> str:
    return kept.decode("utf-8", "replace")
