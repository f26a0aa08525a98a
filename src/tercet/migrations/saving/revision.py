"""The text of a revision: what is done, what takes it back, and why, in an order that does not change."""

from __future__ import annotations

import ast
import textwrap
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from tercet.migrations.steps import (
    BuildIndex,
    DropIndex,
    DropView,
    MakeRollup,
    MakeView,
    RebuildIndex,
    Remark,
    body,
    has_expression,
)
from tercet.sql import identifier, literal
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tercet.migrations.steps import Step
    from tercet.sql import Index, View

# What formatters leave as it is whatever their width.
_WIDTH = 84
_INDENT = "    "
# The standard library's first, then the others', as sorted imports stand.
_IMPORTS = (
    ("hashlib", "import hashlib"),
    ("Iterator", "from collections.abc import Iterator"),
    ("contextmanager", "from contextlib import contextmanager"),
    ("Any", "from typing import Any"),
    ("", ""),
    ("op", "from alembic import op"),
    ("text", "from sqlalchemy import text"),
)


def written(
    steps: Sequence[Step], *, title: str, revision: str, down_revision: str | None, made: str, notes: Sequence[str] = ()
) -> str:
    """The whole file; `made` is the day of the advice, so that the same steps give the same text."""
    up = [line for step in steps for line in _up(step)]
    down = [line for step in reversed(steps) for line in _down(step)]
    sources = _helpers()
    used = _needed("\n".join((*up, *down)), sources)
    helpers = [sources[name] for name in sources if name in used]
    return "\n".join(
        (
            *_docstring(title, revision, down_revision, made, notes),
            "",
            *_imports("\n".join(helpers)),
            "",
            f"revision = {_literal(revision)}",
            f"down_revision = {_literal(down_revision) if down_revision is not None else None}",
            "branch_labels = None",
            "depends_on = None",
            "",
            "",
            *_function("upgrade", "Do what was advised.", up),
            "",
            "",
            *_function("downgrade", "Take it back.", down),
            *(line for helper in helpers for line in ("", "", *helper.split("\n"))),
            "",
        )
    )


def _docstring(title: str, revision: str, down_revision: str | None, made: str, notes: Sequence[str]) -> Iterator[str]:
    yield f'"""{_safe(title)}'
    yield ""
    said = (
        (
            "Nobody is blocked: what takes long runs CONCURRENTLY and outside of a transaction, and waits for others as"
            " long as it takes; what takes a lock is short, and gives up after seconds. A run that is cut off can be"
            " run again: what is there already is kept, and what a failed build has left is dropped."
        ),
        *notes,
    )
    for paragraph in said:
        yield from textwrap.wrap(_safe(paragraph), _WIDTH)
        yield ""
    yield f"Revision ID: {revision}"
    yield f"Revises: {down_revision or ''}".rstrip()
    yield f"Create Date: {made}"
    yield '"""'


def _safe(words: str) -> str:
    """Words that cannot end a docstring, nor escape in it."""
    return " ".join(words.split()).replace("\\", "/").replace('"', "'")


def _imports(code: str) -> Iterator[str]:
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    lines = [line for name, line in _IMPORTS if not name or name in names]
    yield from lines[1:] if lines[:1] == [""] else lines


def _function(name: str, says: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"def {name}() -> None:"
    yield f'{_INDENT}"""{says}"""'
    yield from (f"{_INDENT}{line}" if line else "" for line in lines)


def _up(step: Step) -> Iterator[str]:
    match step:
        case BuildIndex():
            yield from _said(step.why)
            for extension in step.extensions:
                yield from _call("_run", (("", f"create extension if not exists {identifier(extension)}"),))
            yield from _build(step.index, step.comment)
        case RebuildIndex():
            yield from _said(step.why)
            yield from _call("_rebuild", _place(step.index)[:2])
        case DropIndex():
            yield from _said(step.why)
            yield from _call("_drop", _place(step.index))
        case MakeView():
            yield from _said(step.why)
            yield from _view(step.view, step.mark, step.comment)
        case MakeRollup():
            yield from _said(step.why)
            yield from _rollup(step)
        case DropView():
            yield from _said(step.why)
            yield from _drop_kept(step.drop)
        case Remark():
            yield from _said(f"{step.title} (nothing that a migration could do):")
            for line in step.lines:
                yield from _said(line, lead="    ")


def _down(step: Step) -> Iterator[str]:
    match step:
        case BuildIndex():
            yield from _call("_drop", _place(step.index))
        case DropIndex():
            yield from _build(step.index, "", definition=step.undo)
        case MakeView():
            yield from _call("_drop_view", (("view", step.view.qualified),))
        case MakeRollup():
            yield from _drop_kept(step.drop)
        case DropView():
            for statement in step.undo:
                yield from _call("_run", (("", statement),))
        case RebuildIndex() | Remark():
            # A broken index is not made again, and what was only said is not taken back.
            return


def _said(words: str, lead: str = "") -> Iterator[str]:
    """A comment, line by line; a statement's own lines stay apart."""
    for line in words.splitlines() or [""]:
        for part in textwrap.wrap(line, _WIDTH, drop_whitespace=True) or [""]:
            yield f"# {lead}{part}".rstrip()


def _view(view: View, mark: str, comment: str) -> Iterator[str]:
    yield from _call("_make_view", (("view", view.qualified), ("query", view.query), ("mark", mark)))
    for index in view.all_indexes:
        yield from _build(index, comment if index == view.unique_index else "")
    yield from _call("_analyze", (("table", view.qualified),))


def _drop_kept(statements: Sequence[str]) -> Iterator[str]:
    for statement in ("set local lock_timeout = '5s'", *statements):
        yield from _call("_run", (("", statement),))


def _rollup(step: MakeRollup) -> Iterator[str]:
    told = ("make", "state", "served", "following", "fill", "finish")
    yield from _call("_make_rollup", tuple((name, getattr(step, name)) for name in told))
    for index in step.indexes:
        yield from _build(index, "")
    yield from _call("_analyze", (("table", step.place),))
    if step.comment:
        yield from _call("_run", (("", f"comment on index {step.key} is {literal(step.comment)}"),))


def _build(index: Index, comment: str, definition: str = "") -> Iterator[str]:
    """`definition` is how the server wrote down an index that no value may say whole."""
    told = f"using{definition.partition(' USING')[2]}" if definition else body(index)
    more: list[tuple[str, str | bool]] = [("body", told.rstrip("; "))]
    if index.unique:
        more.append(("unique", True))
    if has_expression(index):
        more.append(("analyze", True))
    if comment:
        more.append(("comment", comment))
    yield from _call("_build", (*_place(index), *more))


def _place(index: Index) -> tuple[tuple[str, str], ...]:
    schema = table_parts(index.table)[:-1]
    return (
        ("schema", identifier(schema) if schema else ""),
        ("index", identifier(index.name)),
        ("table", index.qualified_table),
    )


def _call(name: str, values: Sequence[tuple[str, str | bool]]) -> Iterator[str]:
    """A call with each value on a line of its own, which formatters leave so."""
    if len(values) == 1 and len(plain := f"{name}({_named(*values[0])})") <= _WIDTH:
        yield plain
        return
    yield f"{name}("
    for key, value in values:
        yield f"{_INDENT}{_named(key, value)},"
    yield ")"


def _named(key: str, value: str | bool) -> str:
    shown = str(value) if isinstance(value, bool) else _block(value) if "\n" in value else _literal(value)
    return f"{key}={shown}" if key else shown


def _block(value: str) -> str:
    """A text of several lines as it stands, where Python would read it back so."""
    plain = '"""' not in value and "\\" not in value and not value.endswith('"')
    return f'"""{value}"""' if plain else _literal(value)


def _literal(value: str) -> str:
    """A text as formatters write it: in double quotes, unless it holds more of those than of single ones."""
    quote = "'" if value.count('"') > value.count("'") else '"'
    shown = repr(value)[1:-1].replace("\\'", "'").replace("\\" + '"', '"')
    return quote + shown.replace(quote, "\\" + quote) + quote


@cache
def _sources() -> tuple[tuple[str, str], ...]:
    text = files("tercet.migrations.saving").joinpath("alembic_steps.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            first = min((one.lineno for one in node.decorator_list), default=node.lineno)
            found.append((node.name, "\n".join(lines[first - 1 : node.end_lineno])))
    return tuple(found)


def _helpers() -> Mapping[str, str]:
    """The functions that a revision may carry, by name, in their order."""
    return dict(_sources())


def _needed(code: str, sources: Mapping[str, str]) -> set[str]:
    """Those that the code calls, and those that they call."""
    needed: set[str] = set()
    waiting = [code]
    while waiting:
        names = {node.id for node in ast.walk(ast.parse(waiting.pop())) if isinstance(node, ast.Name)}
        for name in (names & set(sources)) - needed:
            needed.add(name)
            waiting.append(sources[name])
    return needed
