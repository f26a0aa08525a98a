"""What is known of one query while it is worked on, and of one candidate after it was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tercet.advisor.advice import Rejected
from tercet.advisor.mongo.parsing.access import accesses

if TYPE_CHECKING:
    from tercet.advisor.mongo.candidates.candidate import Candidate
    from tercet.advisor.mongo.explained import Told
    from tercet.advisor.mongo.shape import Command, Query
    from tercet.advisor.mongo.trial.mongo_desk import Cost

# Less is not worth an index, and less than this no busy machine can tell.
WORTH = 0.10
# From here on a candidate makes a query dearer: a tenth may be noise, and what takes under a millisecond is noise.
DEARER = 1.15
DEARER_MS = 0.3
# In pairs that all agree even this is none.
SLOWER = 1.05


@dataclass(frozen=True, slots=True)
class Form:
    """One way of asking: as it stands, or rewritten by these rules; one command for each example."""

    commands: tuple[Command, ...]
    rules: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


# (fingerprint, form, example) to what it costs.
Place: TypeAlias = tuple[str, int, int]
Costs: TypeAlias = Mapping[Place, float]


@dataclass
class Draft:
    """One query: its forms, what they cost as things stand, and what is to be told of it."""

    query: Query
    forms: list[Form]
    before: dict[tuple[int, int], Cost] = field(default_factory=dict)
    told: dict[tuple[int, int], Told] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    # How many times longer it takes on all documents than on the sample.
    scale: float = 1.0

    @property
    def fingerprint(self) -> str:
        """Its query's."""
        return self.query.fingerprint

    @property
    def runs(self) -> bool:
        """Whether it could be run as it stands."""
        return (0, 0) in self.before

    @property
    def collections(self) -> frozenset[str]:
        """Every collection that it reads."""
        return frozenset(access.collection for form in self.forms for access in accesses(form.commands[0]))

    def places(self) -> list[Place]:
        """Every form and example that runs."""
        return [(self.fingerprint, form, example) for form, example in self.before]

    def ms(self, costs: Costs, form: int | None = None) -> float:
        """Milliseconds of one call on the sample, over its examples; by the cheapest form unless one is named."""
        forms = {one for one, _ in self.before} if form is None else {form}
        return min(self._mean(costs, one) for one in forms)

    def best_form(self, costs: Costs) -> int:
        """The form that is cheapest; the one that stands unless another is worth changing the program."""
        forms = sorted({one for one, _ in self.before})
        best = min(forms, key=lambda one: self._mean(costs, one))
        return best if self._mean(costs, best) <= self._mean(costs, 0) * (1 - WORTH) else 0

    def weigh(self, ms: float) -> float:
        """What so many milliseconds on the sample come to over all calls."""
        before = self._mean({}, 0)
        whole = self.query.weight if self.query.ms is not None else self.query.calls * before * self.scale
        return whole * ms / before

    def _mean(self, costs: Costs, form: int) -> float:
        own = [(place, cost) for place, cost in self.before.items() if place[0] == form]
        return sum(costs.get((self.fingerprint, *place), cost.ms) for place, cost in own) / len(own)


@dataclass
class Tried:
    """A candidate after it was built: what the queries cost with it, by the planner's own choice."""

    candidate: Candidate
    size_bytes: int = 0
    costs: dict[Place, float] = field(default_factory=dict)
    told: dict[Place, Told] = field(default_factory=dict)
    # Why it is out; `harmful` if it makes a query dearer, which another index may prevent.
    rejected: str = ""
    harmful: bool = False

    @property
    def called(self) -> str:
        """Collection and keys for people."""
        return shown(self.candidate)

    def out(self) -> Rejected:
        """As what was tried and not taken."""
        return Rejected(self.called, self.rejected)


def shown(candidate: Candidate) -> str:
    """Collection and keys for people: "orders (status, created_at desc)"."""
    index = candidate.index
    only = f" where {dict(index.partial)}" if index.partial else ""
    return f"{index.collection} ({', '.join(index.shown())}){only}"
