"""Effects in Redis, each once: the mark is a key that is written by the same EXEC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tercet.errors import ExtraMissing, Refused, StoreUnreachable

try:
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import ExecAbortError, ResponseError, WatchError
except ImportError as error:
    raise ExtraMissing("The outbox's inbox in Redis", module="redis", extra="redis") from error

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tercet.changes.outbox.port import Effect


class RedisInbox:
    """Marks under `<namespace>:inbox:`; they last as long as Redis keeps what it has acknowledged.

    The handler's pipeline only gathers commands: it reads nothing, and everything leaves in one MULTI … EXEC.
    """

    __slots__ = ("_client", "_milliseconds", "_prefix")

    def __init__(self, client: Redis, *, namespace: str, seconds: float) -> None:
        self._client, self._prefix, self._milliseconds = client, f"{namespace}:inbox:", int(seconds * 1000)

    async def prepare(self) -> None:
        """Keys need no preparation."""

    async def once(self, consumer: str, event_id: str, effect: Effect) -> bool:
        """Watch the mark, let the handler gather its commands, and run them with the mark in one step."""
        key = f"{self._prefix}{consumer}:{event_id}"
        async with self._client.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            if await cast("Any", pipe.exists(key)):
                return False
            cast("Any", pipe).multi()
            await effect(pipe)
            pipe.set(key, b"1", px=self._milliseconds)
            try:
                await pipe.execute()
            except (WatchError, RedisConnectionError) as error:
                # Somebody else has made it at the same time, or the connection was lost over it: whoever tries
                # again finds the mark, or does not.
                raise StoreUnreachable("redis", reason="whether the effect was made is not known yet") from error
            except ExecAbortError:
                # Nothing of it was run.
                raise
            except ResponseError as error:
                # Redis runs the other commands all the same, and the mark is among them.
                raise Refused(
                    f"Redis refused a command of this effect, and ran the others: {str(error)[:80]}",
                    "It is not tried again, since that would run the others twice: mend what is there by hand.",
                ) from error
        return True
