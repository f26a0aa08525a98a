"""The code that goes from the arguments of one function straight to its keys and tags.

What a key and a tag are is said elsewhere (key, tags, binder). This is the same for the usual case, written
out for one function and compiled: a few f-strings. Whatever is not of the type that it is said to be, or is
too long, goes the long way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import UUID

from tercet.cache.encoding.key import KEY_CHARS_MAX, encode
from tercet.cache.encoding.tags import TAG_CHARS_MAX, Hole, Template, write
from tercet.cache.functions.binder import ATOMS, OURS, Binder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The part of an f-string that writes the variable of a name into a key; what each type's writer in key does.
_KEY_PARTS: Mapping[type, Callable[[str], str]] = MappingProxyType(
    {
        type(None): lambda _: "n",
        bool: lambda name: f"b{{{name}:d}}",
        int: lambda name: f"i{{{name}}}",
        float: lambda name: f"f{{{name} + 0.0!r}}",
        str: lambda name: f"s{{{OURS}len({name})}}:{{{name}}}",
        bytes: lambda name: f"x{{{name}.hex()}}",
        UUID: lambda name: f"u{{{name}.hex}}",
        date: lambda name: f"D{{{name}.isoformat()}}",
        timedelta: lambda name: f"p{{{name}.days}}.{{{name}.seconds}}.{{{name}.microseconds}}",
    }
)

# The same for tags, of the types whose values need no escaping, or seldom.
_TAG_PARTS: Mapping[type, Callable[[str], str]] = MappingProxyType(
    {
        bool: lambda name: f"{{{name}}}",
        int: lambda name: f"{{{name}}}",
        str: lambda name: f"{{{name} if {name}.isascii() and {name}.isalnum() else {OURS}write({name})}}",
        UUID: lambda name: f"{{{name}}}",
        date: lambda name: f"{{{name}.isoformat()}}",
    }
)

# What can stand in a text of source as it is.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;_-+#/@()<>[]")


@dataclass(frozen=True, slots=True)
class Writing:
    """Source for one function. It reads the values out of local variables, whose names are `local`."""

    local: tuple[str, ...]
    # True where the values are of the types that they are said to be.
    guard: str
    # The entry's name; the tags, each of which may yet be too long; what is to be checked of all of them.
    name: str
    tags: tuple[str, ...]
    fits: str
    # What finds an entry in this process: when looking, and when it is put there.
    lookup: str
    raw: str

    @property
    def several(self) -> str:
        """The values as a tuple."""
        return f"({', '.join(self.local)},)" if self.local else "()"


def writing(binder: Binder, templates: tuple[Template, ...], label: str) -> Writing | None:
    """How to write keys that begin with `label`, and tags; None for any number of arguments."""
    if binder.open_ended:
        return None
    local = tuple(f"{OURS}own_{place}" if place < binder.owned else name for place, name in enumerate(binder.names))
    pairs = list(zip(local, binder.kinds, strict=True))
    parts = [_KEY_PARTS[kind](one) if kind else f"{{{OURS}encode({one})}}" for one, kind in pairs]
    own = f"[{','.join(parts[: binder.owned])}]" if binder.owned else ""
    name = f'f"{_literal(label)}{own}({",".join(parts[binder.owned :])})"'
    known = dict(zip(binder.names, pairs, strict=True))
    tags = tuple(_tag(template, known) for template in templates)
    lengths = [f"{OURS}len({OURS}name) <= {KEY_CHARS_MAX}"]
    lengths += [f"{OURS}len({OURS}tag_{place}) <= {TAG_CHARS_MAX}" for place in range(len(tags))]
    typed = _typed(binder, local)
    return Writing(
        local=local,
        guard=" and ".join(f"{OURS}type({one}) is {OURS}kind_{kind.__name__}" for one, kind in pairs if kind) or "True",
        name=name,
        tags=tags,
        fits=" and ".join(lengths),
        lookup=_lookup(binder, local, typed),
        raw=_raw(binder, local, typed),
    )


def names(binder: Binder) -> dict[str, object]:
    """What this source refers to, without the prefix of ours."""
    kinds = {f"kind_{kind.__name__}": kind for kind in ATOMS}
    return {"encode": encode, "write": write, "fast": binder.fast, "atoms": ATOMS, "datetime": datetime, **kinds}


def _literal(text: str) -> str:
    """A text as it stands inside of an f-string, whatever it has in it."""
    return "".join(one if one in _PLAIN else f"\\U{ord(one):08x}" for one in text)


def _tag(template: Template, known: Mapping[str, tuple[str, type | None]]) -> str:
    parts = []
    for part in template.parts:
        if not isinstance(part, Hole):
            parts.append(_literal(part))
            continue
        name, kind = known[part.name]
        direct = None if part.attributes or kind is None else _TAG_PARTS.get(kind)
        whole = ".".join((name, *part.attributes))
        parts.append(f"{{{OURS}write({whole})}}" if direct is None else direct(name))
    return f'f"{"".join(parts)}"'


def _typed(binder: Binder, local: tuple[str, ...]) -> str:
    """The values with their types, as Binder.fast pairs them."""
    parts = []
    for name, zoned in zip(local, binder.zoned, strict=True):
        parts.append(f"{OURS}type({name}), {name}")
        if zoned:
            parts.append(f"({name}.tzinfo, {name}.fold) if {OURS}type({name}) is {OURS}datetime else None")
    return f"({', '.join(parts)},)" if parts else "()"


def _bare(local: tuple[str, ...]) -> str:
    return local[0] if len(local) == 1 else f"({', '.join(local)},)"


def _lookup(binder: Binder, local: tuple[str, ...], typed: str) -> str:
    if not binder.exact or not local:
        return typed
    kinds = " and ".join(
        f"{OURS}type({name}) is {OURS}kind_{kind.__name__}"
        for name, kind in zip(local, binder.kinds, strict=True)
        if kind
    )
    return f"{_bare(local)} if {kinds} else {typed}"


def _raw(binder: Binder, local: tuple[str, ...], typed: str) -> str:
    """What an entry is put under; written where the guard holds."""
    if not local:
        return "()"
    if binder.exact:
        return _bare(local)
    if any(binder.zoned):
        return f"{OURS}fast(({', '.join(local)},))"
    unsure = [name for name, kind in zip(local, binder.kinds, strict=True) if kind is None]
    atoms = " and ".join(f"{OURS}type({name}) in {OURS}atoms" for name in unsure)
    return f"{typed} if {atoms} else None"
