"""Several answers of one tick: all are waited for, and the first error is raised."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

T = TypeVar("T")


async def every(asked: Iterable[Awaitable[T]]) -> list[T]:
    """All of these answers, once all have come; so what was sent together has also ended together."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found: list[T] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        found.append(answer)
    return found
