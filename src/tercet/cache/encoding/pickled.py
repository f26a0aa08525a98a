"""Values that only pickle can keep, under a signature: for who asks for it, and trusts what runs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

import msgspec

from tercet.errors import SettingInvalid

# A key shorter than the digest weakens it (RFC 2104, section 3).
SECRET_BYTES_MIN = 32

# What the signature is for: a secret that signs other things too signs nothing here by them.
_PURPOSE = b"tercet.cache.Pickled/1"

# SHA-256.
_MARK_BYTES = 32


class Forged(Exception):
    """This body was not signed with this secret, for this type and key."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """A type to give to a cache: any value of `kind`, kept by pickle and signed with `secret`.

        @cache(type=Pickled(secret, kind=Model))
        async def model(name: str) -> Model: ...

    Unpickling runs code. Nothing is unpickled that was not signed with the secret, for the same key and kind:
    whoever can write to Redis and does not know it can only cause misses. Whoever knows it can run code here.
    """

    secret: bytes | str = field(repr=False)
    kind: type = object

    def __post_init__(self) -> None:
        given: tuple[object, object] = (self.secret, self.kind)
        if not isinstance(given[0], bytes | str) or len(self._secret()) < SECRET_BYTES_MIN:
            raise SettingInvalid(
                "secret",
                where="Pickled",
                # Not a part of it, nor its length.
                shown="something else",
                wanted=f"at least {SECRET_BYTES_MIN} bytes that nobody can guess, as secrets.token_hex() makes",
            )
        if not isinstance(given[1], type):
            raise SettingInvalid("kind", where="Pickled", shown=repr(self.kind), wanted="a class")

    def schema(self, size: int) -> bytes:
        """The shape of the kind, as far as it can be told: its name, and the fields that it declares.

        Under another secret it is another shape: what was signed with that one is not even tried.
        """
        fields = [
            f"{name}:{annotation if isinstance(annotation, str) else repr(annotation)}"
            for one in reversed(self.kind.__mro__)
            for name, annotation in getattr(one, "__annotations__", {}).items()
        ]
        text = f"pickle {self.kind.__module__}.{self.kind.__qualname__} {fields!r}"
        return hmac.digest(self._secret(), _PURPOSE + b"/schema" + text.encode("utf-8", "backslashreplace"), "sha256")[
            :size
        ]

    def write(self, value: object, *, schema: bytes, key: str) -> bytes:
        """The value's bytes, signed together with its schema and key; raises TypeError for another kind."""
        import pickle  # noqa: PLC0415 - never loaded in a process that has not asked for it

        if not isinstance(value, self.kind):
            raise TypeError(f"it is a {type(value).__name__}, not a {self.kind.__name__}")
        rest = msgspec.msgpack.encode((key, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)))
        return self._mark(schema, rest) + rest

    def read(self, body: bytes, *, schema: bytes, key: str | None) -> object:
        """The value again; raises Forged before anything of a body is looked at that was not signed so.

        Without a key it is not compared, as for a body out of this process's own memory.
        """
        import pickle  # noqa: PLC0415 - as above

        mark, rest = body[:_MARK_BYTES], body[_MARK_BYTES:]
        if not hmac.compare_digest(mark, self._mark(schema, rest)):
            raise Forged("the signature is not ours")
        said, inside = msgspec.msgpack.decode(rest, type=tuple[str, bytes])
        if key is not None and said != key:
            raise Forged("it was signed for another key")
        value = pickle.loads(inside)  # noqa: S301 - we have written these bytes: only who has the secret can sign
        if not isinstance(value, self.kind):
            raise TypeError(f"it is a {type(value).__name__}")
        return value

    def _mark(self, schema: bytes, rest: bytes) -> bytes:
        said = len(schema).to_bytes(2, "big") + schema
        return hmac.digest(self._secret(), _PURPOSE + b"/body" + said + rest, "sha256")

    def _secret(self) -> bytes:
        return self.secret.encode("utf-8", "surrogatepass") if isinstance(self.secret, str) else self.secret
