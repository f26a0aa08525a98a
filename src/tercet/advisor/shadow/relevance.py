"""Which indexes can matter to a statement: those of the tables that it may read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from tercet.advisor.shadow.taken.dump import Dump

_FUNCTION = re.compile(r"function (?:.*\.)?\"?([^\"(]+)\"?\(")
_VIEW = re.compile(r"view (?:.*\.)?\"?([^\"]+)\"?$")


class Relevance:
    """Tells from a statement's text which tables it may read: their names occur in it.

    A view or a function may read others, so whatever names one may read every table.
    """

    def __init__(self, dump: Dump) -> None:
        self._above: dict[str, set[str]] = {}
        for relation in dump.relations:
            for parent in relation.parents or ():
                self._above.setdefault(relation.name, set()).add(parent.name)
        self._veils = {
            found[1].casefold()
            for made in (*dump.objects, *dump.rules)
            if (found := _FUNCTION.match(made.what) or _VIEW.match(made.what))
        }
        self._veiled: dict[str, bool] = {}

    def family(self, table: str) -> frozenset[str]:
        """A table's name and those of the tables that it is a part of."""
        found, waiting = {table}, [table]
        while waiting:
            for above in self._above.get(waiting.pop(), ()):
                if above not in found:
                    found.add(above)
                    waiting.append(above)
        return frozenset(found)

    def touches(self, folded: str, names: Collection[str]) -> bool:
        """Whether a statement, given in folded letters, may read a table that goes by one of these names."""
        return any(name.casefold().replace('"', '""') in folded for name in names) or self._veils_in(folded)

    def _veils_in(self, folded: str) -> bool:
        if not self._veils:
            return False
        if folded not in self._veiled:
            self._veiled[folded] = any(veil in folded for veil in self._veils)
        return self._veiled[folded]
