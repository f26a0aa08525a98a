"""The sentences: every test and every public thing says what is true of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Protocol

# Fewer words than this name a subject and say nothing of it.
WORDS_IN_A_SENTENCE = 4

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Source(Protocol):
    """What a test here needs of a source file."""

    place: str
    tree: ast.Module


def _tests(sources: Sequence[Source]) -> Iterator[tuple[Source, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield source, node


def _public(body: Sequence[ast.stmt]) -> Iterator[Documented]:
    """Public classes and functions, and the public methods of such classes."""
    for node in body:
        if isinstance(node, Documented) and not node.name.startswith("_") and not _is_variant(node):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def _is_variant(node: Documented) -> bool:
    """Whether the docstring stands elsewhere: at an overload's implementation, at a setter's getter."""
    marks = {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
    return bool(marks & {"overload", "setter"})


def _is_sentence(text: str | None) -> bool:
    # The first line promises; what it lists may follow below a colon.
    return bool(text) and (text or "").partition("\n")[0].endswith((".", ":", "?", '."'))


def test_every_test_says_in_a_sentence_what_is_true(tests: Sequence[Source]) -> None:
    """A test's docstring is a sentence."""
    silent = [
        f"{source.place}:{node.lineno} {node.name}"
        for source, node in _tests(tests)
        if not _is_sentence(ast.get_docstring(node))
    ]
    assert not silent, "\n".join(silent)


def test_every_name_of_a_test_is_long_enough_to_be_true_or_false(tests: Sequence[Source]) -> None:
    """A test is named after the thing that is true, not after the function it calls."""
    short = [
        f"{source.place}:{node.lineno} {node.name}"
        for source, node in _tests(tests)
        if len(node.name.removeprefix("test_").split("_")) < WORDS_IN_A_SENTENCE
    ]
    assert not short, "\n".join(short)


def test_every_public_thing_says_what_it_promises(library: Sequence[Source], shop: Sequence[Source]) -> None:
    """Modules, classes, functions and methods that a user may see begin with a sentence."""
    silent = [f"{source.place}: the module" for source in (*library, *shop) if not ast.get_docstring(source.tree)]
    silent += [
        f"{source.place}:{node.lineno} {node.name}"
        for source in (*library, *shop)
        for node in _public(source.tree.body)
        if not _is_sentence(ast.get_docstring(node))
    ]
    assert not silent, "\n".join(silent)
