"""What a lock is called in Redis: four keys in one slot of a cluster, whatever its name is made of."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from dataclasses import dataclass
from typing import Literal

from tercet.errors import SettingInvalid
from tercet.wire import checked_name

Kind = Literal["lock", "read_write", "semaphore"]
Mode = Literal["x", "s"]

# Locks, pairs of reading and writing, and semaphores of one name are different things.
_LETTER: dict[Kind, str] = {"lock": "l", "read_write": "w", "semaphore": "s"}

# Longer names are stored by their digest: a key is sent with every command.
NAME_BYTES_MAX = 200

# A host's name is shown to whoever finds the lock busy, and is part of every entry.
_HOST_LETTERS_MAX = 40
# Two processes with one pid (in two containers, or after a fork) must not be taken for one another.
_PROCESS_BYTES = 8


@dataclass(frozen=True, slots=True)
class LockName:
    """A lock's name as it was given, its kind, and its four keys."""

    text: str
    kind: Kind
    keys: tuple[bytes, bytes, bytes, bytes]

    @classmethod
    def of(cls, namespace: str, kind: Kind, text: str) -> LockName:
        """The keys of this name; any text is one, the empty one too."""
        if not isinstance(text, str):
            raise SettingInvalid("its name", where=f"A {kind}", shown=repr(text), wanted="a text")
        name = text.encode("utf-8", "surrogatepass")
        mark = b":"
        if len(name) > NAME_BYTES_MAX:
            name, mark = hashlib.sha256(name).hexdigest().encode(), b"#"
        # The letter keeps the hash tag from being empty, which would spread the keys over the slots.
        tagged = f"{namespace}:lock:{{{_LETTER[kind]}".encode() + mark + name + b"}:"
        holders, queue, places, fence = (tagged + last for last in (b"h", b"q", b"p", b"f"))
        return cls(text, kind, (holders, queue, places, fence))

    @property
    def title(self) -> str:
        """The same at the beginning of a sentence."""
        return f"T{str(self)[1:]}"

    def __str__(self) -> str:
        return f"the {self.kind.replace('_', '-')} {self.text!r}"


def checked_namespace(namespace: str) -> str:
    """The namespace, if keys can begin with it."""
    return checked_name(namespace, "namespace", where="Locks")


def wake_prefix(namespace: str) -> bytes:
    """What the channels of this namespace begin with; a process' name follows."""
    return f"{namespace}:lock:wake:".encode()


def new_process() -> str:
    """A name for this process that no other has had: host, pid, and something random."""
    host = re.sub(r"[^A-Za-z0-9.\-]", "-", socket.gethostname())[:_HOST_LETTERS_MAX]
    return f"{host}/{os.getpid()}/{secrets.token_hex(_PROCESS_BYTES)}"


def wish(mode: Mode, permits: int, ttl: float, process: str, number: int) -> bytes:
    """One wish to hold a lock, as it stands in the line and among the holders."""
    return f"{mode}|{permits}|{ttl * 1000:.0f}|{process}|{number}".encode()


def holder_of(wish: bytes) -> str:
    """Who has made this wish, for people."""
    parts = wish.decode("utf-8", "replace").split("|")
    host, _, rest = parts[3].partition("/") if len(parts) > 3 else ("", "", "")  # noqa: PLR2004 - as wish() writes it
    pid = rest.partition("/")[0]
    return f"process {pid} on {host}" if pid else "somebody"
