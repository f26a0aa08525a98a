"""The orders in which the fields of one walk may stand in an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.mongo.parsing.access import Access
    from tercet.advisor.mongo.parsing.condition import Conditions
    from tercet.advisor.mongo.shape import Keys

# A covering index of more fields is a second collection.
COVERED_MAX = 8
# The server allows 32 keys; past a handful they cost more than they sort out.
KEYS_MAX = 10


def orders(access: Access) -> Iterator[tuple[Keys, str]]:
    """Keys with the reason for each, the most usual first; of an $or one for each branch."""
    if access.conditions.special:
        return
    if access.conditions.any_of:
        for branch in access.conditions.any_of:
            yield from _of(access, _joined(access.conditions, branch), "for one branch of the $or")
    yield from _of(access, access.conditions, "")


def _joined(outer: Conditions, branch: Conditions) -> Conditions:
    return type(outer)((*outer.all_of, *branch.all_of), (), outer.special or branch.special, outer.reads)


def _of(access: Access, asked: Conditions, what: str) -> Iterator[tuple[Keys, str]]:
    equal, ranged = asked.of("equal"), asked.of("range")
    sort = tuple((name, way) for name, way in access.sort if name not in equal and way in {1, -1})
    e, r = _up(equal), _up(tuple(name for name in ranged if name not in dict(sort)))
    tail = f" {what}" if what else ""
    base: list[tuple[Keys, str]] = []
    if sort:
        base.append(((*e, *sort, *r), f"equality, sort, range{tail}"))
        if r:
            base.append(((*e, *r, *sort), f"equality, range before sort{tail}"))
    if e or r:
        base.append(((*e, *r), f"equality, range{tail}"))
    if len(r) > 1:
        base += [((*e, one), f"equality and one range{tail}") for one in r]
    if r and e:
        base.append((e, f"equality alone{tail}"))
    if access.grouped:
        grouped = _up(tuple(name for name in access.grouped if name not in equal))
        base.append((_once((*e, *grouped, *sort, *r)), f"one entry for each key{tail}"))
    for keys, why in base:
        if keys:
            yield keys[:KEYS_MAX], why
    yield from _covering(access, base, tail)


def _covering(access: Access, base: list[tuple[Keys, str]], tail: str) -> Iterator[tuple[Keys, str]]:
    if access.needed is None or access.joined:
        return
    for keys, why in base or [((), "nothing but what is read")]:
        rest = _up(tuple(sorted(access.needed - {name for name, _ in keys})))
        if keys or rest:
            held = (*keys, *rest)
            # One path inside of another would bring the same twice.
            names = [name for name, _ in held]
            nested = any(a != b and a.startswith(b + ".") for a in names for b in names)
            if rest and len(held) <= COVERED_MAX and not nested:
                yield held, f"{why.removesuffix(tail)}, covering{tail}"


def _up(names: tuple[str, ...]) -> Keys:
    return tuple((name, 1) for name in names)


def _once(keys: Keys) -> Keys:
    return tuple({name: (name, way) for name, way in reversed(keys)}[name] for name in dict(keys))
