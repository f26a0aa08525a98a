"""What a private server shall be: of which version, with which settings, sorting texts like whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.servers.port import Program


@dataclass(frozen=True, slots=True)
class Recipe:
    """A server of this major version, or of the nearest that is here; of any, if that is None."""

    major: int | None = None
    # "name=value", behind those that every private server has.
    settings: tuple[str, ...] = ()
    # initdb's options for production's locale; where these do not work here, plain ones are taken.
    locale: Callable[[Program], Sequence[str]] | None = field(default=None, compare=False)

    def majors(self, oldest: int) -> tuple[int | None, ...]:
        """The versions to look for, in turn; of two that are as near the newer one, which knows more of the plans."""
        wanted = self.major
        if wanted is None:
            return (None,)
        # A version that came later than this line is looked for as well.
        known = range(min(oldest, wanted), max(_NEWEST, wanted) + 2)
        return tuple(sorted(known, key=lambda one: (abs(one - wanted), one < wanted)))


# The newest that this was tried with.
_NEWEST = 18
# 180006 is 18.6.
VERSIONS_A_MAJOR = 10_000


def major_of(version: int) -> int | None:
    """The major version that a server_version_num tells; None where nobody knows (0)."""
    return version // VERSIONS_A_MAJOR or None
