"""An edit: the fields of one entity that are to change, and no others."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.router.key import Key
    from tercet.router.plan import Plan


@dataclass(frozen=True, slots=True)
class Edit:
    """What of one entity is to change; made by `Customer.edit(42, name="Ann")`."""

    plan: Plan = field(repr=False)
    key: Key
    # Not in the text, for an edit gets into logs.
    values: Mapping[str, object] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that change."""
        return tuple(self.values)


def edited(plan: Plan, key: object, values: Mapping[str, object]) -> Edit:
    """The edit; raises UsageError for a name that is not declared, or a value of another type."""
    checked: dict[str, object] = {}
    if not values:
        raise UsageError(f"An edit of {plan.entity} changes nothing.", "Name a field: edit(42, name='Ann').")
    for name, value in values.items():
        found = plan.field(name)
        if found is None:
            near = difflib.get_close_matches(name, [one.name for one in plan.fields], 1)
            known = ", ".join(one.name for one in plan.fields)
            mend = f"Did you mean {near[0]!r}?" if near else f"It has: {known}."
            raise UsageError(f"{plan.entity} has no field {name!r}.", mend)
        if not found.saved:
            raise UsageError(
                f"{found.label} is counted or added to where it is.",
                "Change it there (INCR, SADD): a save would undo what others do meanwhile.",
            )
        checked[name] = found.checked(value)
    return Edit(plan, plan.key.of(key), checked)
