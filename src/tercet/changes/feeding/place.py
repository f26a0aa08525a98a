"""A place: where a service stands in the changes of a store, by its name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from tercet.errors import SettingInvalid

# PostgreSQL's names end here, and so do those of its slots.
NAME_BYTES_MAX = 63
# What leaves room for the service's name beside it.
PLACE_CHARS_MAX = 40

# Why a place begins that may never have been there before: the store cannot tell the two.
NO_SLOT = "it has no slot yet, or it was dropped"

_PLACE = re.compile(rf"[a-z0-9_]{{1,{PLACE_CHARS_MAX}}}")
_NOT_IN_A_SLOT = re.compile(r"[^a-z0-9_]")
# Enough that two names which are cut, or written alike, do not meet.
_DIGEST_CHARS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """One reader's place in one store: all processes of the service that read for the same purpose share it."""

    service: str
    name: str
    # Whether the store keeps what was not read yet; otherwise every reading begins now.
    durable: bool = False
    # What was kept for it is lost or spoilt: whatever is left of it is thrown away, and it begins now.
    anew: bool = False

    def renewed(self) -> Place:
        """The same place, to be begun anew."""
        return replace(self, anew=True)

    @property
    def slot(self) -> str:
        """The slot's name: the service and the place, in the letters that PostgreSQL allows, at most 63 of them."""
        plain = f"tercet_{_NOT_IN_A_SLOT.sub('_', self.service.lower())}_{self.name}"
        exact = plain == f"tercet_{self.service}_{self.name}" and len(plain) <= NAME_BYTES_MAX
        return plain if exact else self._marked(plain, self._digest().hex())

    def passing_slot(self, mark: str) -> str:
        """A temporary slot's name; `mark` tells it from one whose process is still dying."""
        return self._marked(f"tercet_{_NOT_IN_A_SLOT.sub('_', self.service.lower())}_{self.name}", mark)

    @property
    def key(self) -> int:
        """The number of the advisory lock whose holder leads; 64 bits, with a sign."""
        return int.from_bytes(self._digest(), "big", signed=True)

    def _digest(self) -> bytes:
        return hashlib.blake2b(f"tercet changes\0{self.service}\0{self.name}".encode(), digest_size=8).digest()

    @staticmethod
    def _marked(plain: str, mark: str) -> str:
        return f"{plain[: NAME_BYTES_MAX - _DIGEST_CHARS - 1]}_{mark[:_DIGEST_CHARS]}"


def checked_place(name: str) -> str:
    """The name of a place as it is, or SettingInvalid."""
    if not _PLACE.fullmatch(name):
        raise SettingInvalid(
            "the name of a place",
            where="subscribe()",
            shown=repr(name),
            wanted=f"1 to {PLACE_CHARS_MAX} of the characters a-z, 0-9 and _",
        )
    return name
