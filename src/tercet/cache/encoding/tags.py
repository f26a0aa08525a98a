"""Tags: names under which many entries are dropped at once, made of templates such as "user:{user_id}"."""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from tercet.errors import TemplateMismatch, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Every tag of an entry is read with it: past this, one read would cost more than what it saves.
TAGS_MAX = 32

# A tag longer than this is cut to its beginning and a digest.
TAG_CHARS_MAX = 200
PREFIX_CHARS = 80
DIGEST_BYTES = 32

# What stays as it is in a value besides letters, digits and _.-~ (quote never escapes those). A colon does
# not: the value "1:admin" must not make the tag of another template.
_SAFE = "@+,"


class Cell:
    """A tag as this process knows it: alive until it is dropped here, and then never again."""

    __slots__ = ("__weakref__", "alive")

    def __init__(self) -> None:
        self.alive = True


@dataclass(frozen=True, slots=True)
class Hole:
    """A place in a template: the parameter, and the attributes to follow from it."""

    field: str
    name: str
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A tag with places for values: "user:{user_id}", "order:{order.id}"."""

    text: str
    parts: tuple[str | Hole, ...]

    def fill(self, values: Mapping[str, object]) -> str:
        """The tag for these values; what could be mistaken for the template's own signs is escaped."""
        written = [part if isinstance(part, str) else self._write(part, values) for part in self.parts]
        return shortened("".join(written))

    def _write(self, hole: Hole, values: Mapping[str, object]) -> str:
        value: object = values[hole.name]
        for attribute in hole.attributes:
            try:
                value = getattr(value, attribute)
            except AttributeError as error:
                raise UsageError(
                    f"The tag {self.text!r} needs {hole.field!r}: a {type(value).__name__} has none.",
                    "Name an attribute that every argument has.",
                ) from error
        try:
            return write(value)
        except TypeError as error:
            raise UsageError(
                f"The tag {self.text!r} cannot be made: {hole.field!r} is a {type(value).__name__}.",
                "Use a number, str, date, UUID, Enum or None in a tag.",
            ) from error


def parse(text: object, *, function: str, parameters: Sequence[str]) -> Template:
    """The template in `text`; raises TemplateMismatch where it names what `function` does not have."""
    if not isinstance(text, str) or not text:
        raise UsageError(f"A tag of {function}() is {text!r}.", "A tag is a text such as 'users' or 'user:{user_id}'.")
    parts: list[str | Hole] = []
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UsageError(
            f"The tag {text!r} of {function}() is no template: {error}.",
            "Write a brace that is meant as {{ or }}.",
        ) from error
    for literal, field, form, conversion in pieces:
        if literal:
            parts.append(literal)
        if field is None:
            continue
        name, attributes = _longest(field, parameters)
        if not name:
            raise TemplateMismatch(text, field=field, function=function, parameters=tuple(parameters))
        if form or conversion or not all(attribute.isidentifier() for attribute in attributes):
            raise UsageError(
                f"The tag {text!r} of {function}() is more than names: {{{field}}} has a format or an index.",
                "Use {name} or {name.attribute}.",
            )
        parts.append(Hole(field, name, tuple(attributes)))
    return Template(text, tuple(parts))


def _longest(field: str, parameters: Sequence[str]) -> tuple[str, list[str]]:
    """The parameter at the beginning of a field, which may be "self.tenant", and the attributes to follow."""
    pieces = field.split(".")
    for end in range(len(pieces), 0, -1):
        name = ".".join(pieces[:end])
        if name in parameters:
            return name, pieces[end:]
    return "", []


def templates(tags: str | Iterable[str], *, function: str, parameters: Sequence[str]) -> tuple[Template, ...]:
    """The templates of a decorator's `tags`, checked against the function's parameters."""
    found = tuple(
        parse(text, function=function, parameters=parameters) for text in ((tags,) if isinstance(tags, str) else tags)
    )
    _check_number(len(found), function)
    return found


def plain(tags: Iterable[str], *, of: str) -> tuple[str, ...]:
    """Tags that somebody wrote out, each once and short enough; raises UsageError for what is no tag."""
    given: tuple[object, ...] = tuple(dict.fromkeys((tags,) if isinstance(tags, str) else tags))
    for text in given:
        if not isinstance(text, str) or not text:
            raise UsageError(f"A tag of {of} is {text!r}.", "A tag is a text such as 'users' or 'user:42'.")
    _check_number(len(given), of)
    return tuple(shortened(str(text)) for text in given)


def tag(template: str, /, **values: object) -> str:
    """The tag that a decorator's template makes of these values: for drops by what is no plain word."""
    return parse(template, function="tag", parameters=tuple(values)).fill(values)


def write(value: object) -> str:
    """A value as it stands in a tag; raises TypeError for what has no such form."""
    # The usual ones, of which nothing can be escaped.
    if type(value) is int or (type(value) is str and value.isascii() and value.isalnum()):
        return str(value)
    if isinstance(value, Enum):
        value = value.value
    match value:
        case None | bool() | int() | float() | Decimal() | UUID():
            text = str(value)
        case str():
            text = value
        case datetime() | date() | time():
            text = value.isoformat()
        case bytes():
            text = value.hex()
        case _:
            raise TypeError(type(value).__name__)
    return quote(text, safe=_SAFE, errors="surrogatepass")


def shortened(text: str) -> str:
    """The tag itself, or its beginning and a digest of it where it is very long."""
    if len(text) <= TAG_CHARS_MAX:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return f"{text[:PREFIX_CHARS]}#{digest}"


def _check_number(number: int, of: str) -> None:
    if number > TAGS_MAX:
        raise UsageError(f"{of} has {number} tags, and {TAGS_MAX} are the most.", "Use fewer, wider tags.")


def filled(found: tuple[Template, ...], names: Sequence[str], values: Sequence[Any]) -> tuple[str, ...]:
    """The tags of one call, each once."""
    if not found:
        return ()
    given = dict(zip(names, values, strict=True))
    return tuple(dict.fromkeys(one.fill(given) for one in found))
