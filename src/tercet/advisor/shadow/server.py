"""The server of a shadow: production's major version and locale, and settings that leave what is crafted alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tercet.advisor.private import Cluster, Recipe

if TYPE_CHECKING:
    from tercet.advisor.shadow.taken.dump import About
    from tercet.servers.port import Program

_PROVIDERS_FROM = (15,)
_BUILTIN_FROM = (17,)

_SETTINGS = (
    # Nothing may count its rows: that would undo what was written into the catalogue.
    "track_counts=off",
    "allow_system_table_mods=on",
    "shared_buffers=32MB",
    "max_connections=10",
    "checkpoint_timeout=1h",
)


def server_like(about: About) -> Cluster:
    """A server like this one, to be started."""
    return Cluster(Recipe(about.major, _SETTINGS, partial(_locale, about)))


def _locale(about: About, program: Program) -> list[str]:
    words = ["-E", about.encoding, f"--lc-collate={about.collate}", f"--lc-ctype={about.ctype}"]
    words += ["--lc-messages=C", "--lc-monetary=C", "--lc-numeric=C", "--lc-time=C"]
    if about.provider == "i" and about.locale and program.version >= _PROVIDERS_FROM:
        words += ["--locale-provider=icu", f"--icu-locale={about.locale}"]
    elif about.provider == "b" and about.locale and program.version >= _BUILTIN_FROM:
        words += ["--locale-provider=builtin", f"--builtin-locale={about.locale}"]
    return words
