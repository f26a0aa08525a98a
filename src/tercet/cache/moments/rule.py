"""The rule of a fill: it is kept only if its load has seen whatever its tags were last dropped for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.cache.moments.span import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tercet.cache.moments.span import Record
    from tercet.witness import Witness


def may_keep(records: Iterable[Record], witness: Witness) -> bool:
    """Whether what was loaded under this witness holds all that these records speak of.

    Of a store from which the witness was told nothing, only what is settled counts as seen: the load has read it
    in a way that nobody watches, or not at all.
    """
    names = {digest(source): source for source in witness.sources}
    for one in records:
        source = names.get(one.source)
        if source is None:
            if not one.settled:
                return False
        elif not witness.sees_all(source, one.first, one.last):
            return False
    return True
