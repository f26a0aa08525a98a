"""Whose rows may be copied without being asked."""

from __future__ import annotations

import os

from tercet import Tercet
from tercet.advisor.reading import here
from tercet.advisor.reading.here import is_here


async def test_a_server_of_this_machine_is_here(postgres_url: str) -> None:
    """The server of the tests runs beside them."""
    async with Tercet(postgres=postgres_url) as db:
        assert await is_here(db.postgres)


async def test_a_server_at_the_end_of_a_tunnel_is_not_here(postgres_url: str, monkeypatch) -> None:
    """Its address is local, and its process is not to be found."""

    def nobody(_process: int, _signal: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(here.os, "kill", nobody)
    async with Tercet(postgres=postgres_url) as db:
        assert not await is_here(db.postgres)


async def test_a_process_of_somebody_elses_is_one_all_the_same(postgres_url: str, monkeypatch) -> None:
    """The server seldom runs as whoever asks."""

    def forbidden(_process: int, _signal: int) -> None:
        raise PermissionError(os.strerror(1))

    monkeypatch.setattr(here.os, "kill", forbidden)
    async with Tercet(postgres=postgres_url) as db:
        assert await is_here(db.postgres)
