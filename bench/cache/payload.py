"""What is cached: a profile of 209 bytes of JSON, and a list of a hundred rows of some 20 kB, made from a number."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import msgspec

try:
    import orjson
except ImportError:  # the normal environment of the project has none; the quick run says which was used
    orjson = None  # type: ignore[assignment]  # either the module or nothing

# The name of what the plain clients encode with.
JSON = "orjson" if orjson else "msgspec.json"

# Rows of the large payload.
ROWS = 100

# What the small payload weighs as JSON, whatever the number: figures of two runs are of the same bytes.
PROFILE_BYTES = 209

_CITIES = ("Aarhus", "Busan", "Cusco", "Dakar", "Evora", "Fukui", "Gdansk", "Hobart")
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "iris", "jade")


class Profile(msgspec.Struct, frozen=True):
    """A user as a page shows them."""

    id: int
    name: str
    email: str
    city: str
    plan: str
    score: float
    verified: bool
    created_at: str
    note: str


class Row(msgspec.Struct, frozen=True):
    """One line of a list: an order as a list shows it."""

    id: int
    user: str
    city: str
    status: str
    total: int
    currency: str
    items: int
    created_at: str
    words: str
    discount: float | None
    paid: bool


def profile(user: int) -> Profile:
    """The profile of a user; its JSON weighs PROFILE_BYTES."""
    draw = random.Random(user)  # noqa: S311 - the same data in every run is the point
    made = Profile(
        id=user,
        name=f"{draw.choice(_WORDS).title()} {draw.choice(_WORDS).title()}",
        email=f"user{user}@mail.example",
        city=draw.choice(_CITIES),
        plan=draw.choice(("free", "team", "corp")),
        score=draw.randrange(100, 1000) / 10 + 0.05,
        verified=bool(draw.randrange(2)),
        created_at=f"20{draw.randrange(10, 26)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}T08:30:00Z",
        note="",
    )
    short = PROFILE_BYTES - len(msgspec.json.encode(made))
    return msgspec.structs.replace(made, note=_text(draw, short))


def rows(user: int) -> list[Row]:
    """The hundred rows of a user, all different."""
    draw = random.Random(-user - 1)  # noqa: S311 - as above
    return [
        Row(
            id=user * ROWS + number,
            user=f"user{draw.randrange(10_000):04}",
            city=draw.choice(_CITIES),
            status=draw.choice(("open", "paid", "sent", "done")),
            total=draw.randrange(100, 1_000_000),
            currency=draw.choice(("EUR", "KRW", "USD")),
            items=draw.randrange(1, 9),
            created_at=f"2026-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}T12:{draw.randrange(60):02}:00Z",
            words=_text(draw, 24),
            discount=None if draw.random() < 0.5 else draw.randrange(1, 50) / 2,
            paid=draw.random() < 0.7,
        )
        for number in range(ROWS)
    ]


def plain(value: object) -> Any:
    """A value as dicts, lists and numbers: what the clients without types store and give back."""
    return msgspec.to_builtins(value)


def checksum(values: object) -> str:
    """The same for the same rows, whether they came back as types or as dicts."""
    return hashlib.sha256(msgspec.json.encode(plain(values))).hexdigest()


def dumps(value: object) -> bytes:
    """Plain data as JSON, by the fastest that is there."""
    return orjson.dumps(value) if orjson else msgspec.json.encode(value)


def loads(data: bytes) -> Any:
    """JSON as plain data, by the fastest that is there."""
    return orjson.loads(data) if orjson else msgspec.json.decode(data)


def _text(draw: random.Random, length: int) -> str:
    text = ""
    while len(text) < length:
        text += draw.choice(_WORDS) + " "
    return text[:length]
