"""Finding a server's program: a folder that was named, then the system's, then a wheel's.

A program that is too old, or does not run here, is passed over, and the error tells so.
"""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.errors import ServerMissing
from tercet.servers.libraries import borrow
from tercet.servers.port import Candidate, Program, Server, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.servers.folder import Site

# Asking for a version reads one binary from the disk; a cold disk and a large mongod stay far below this.
_ASK_SECONDS = 20.0

_VERSION = re.compile(r"(?:PostgreSQL\) |v=|version v|^v)(\d{1,6}(?:\.\d{1,6})*)", re.MULTILINE | re.ASCII)


def find(server: Server, site: Site, sources: Sequence[Source], environ: Mapping[str, str]) -> Program:
    """The first program that runs here, is new enough, and can serve the data that is there already."""
    looked: list[str] = []
    unsuited: str | None = None
    for candidate in server.candidates(sources, environ):
        found = _look(server, candidate, site, environ)
        if isinstance(found, str):
            looked.append(f"{candidate.source} {candidate.path} ({found})")
            continue
        reason = server.suits(found, site)
        if reason is None:
            return found
        looked.append(f"{candidate.source} {candidate.path} ({found.version_text})")
        unsuited = unsuited or reason
    if unsuited is not None:
        raise ServerMissing(server.store, looked=tuple(looked), mend=unsuited)
    raise ServerMissing(server.store, looked=tuple(looked) or ("PATH", "the installed wheels"), mend=server.mend)


def package_folder(name: str) -> Path | None:
    """Where an installed package lies, without importing it."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def version_in(answer: str) -> tuple[int, ...] | None:
    """The version in what a server answers to --version; None when there is none."""
    found = _VERSION.search(answer)
    return None if found is None else tuple(int(part) for part in found[1].split("."))


def _look(server: Server, candidate: Candidate, site: Site, environ: Mapping[str, str]) -> Program | str:
    """The program, or why it is passed over."""
    if not candidate.path.is_file():
        return "not there"
    environment: dict[str, str] = {}
    answer = _ask(candidate.path, environ)
    if candidate.borrows and "shared libraries" in answer:
        environment = borrow(site.libraries)
        answer = _ask(candidate.path, {**environ, **environment})
    version = version_in(answer)
    if version is None:
        return f"does not run: {(answer.strip().splitlines() or ['no answer'])[0]}"
    program = Program(server.store, candidate.path, version, candidate.source, environment)
    if version < server.oldest:
        return f"{program.version_text} is older than {'.'.join(map(str, server.oldest))}"
    return program


def _ask(path: Path, environ: Mapping[str, str]) -> str:
    try:
        asked = subprocess.run(  # noqa: S603 - a server's own program, no shell
            [str(path), "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            timeout=_ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return asked.stdout.decode("utf-8", "replace")
