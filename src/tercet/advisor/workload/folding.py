"""Statements folded by what they share, in memory that is bounded whatever comes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.query import EXAMPLES_MAX, Example, Query, Skipped, Workload
from tercet.advisor.workload.asked import STATEMENT_CHARS_MAX, Asked, meant
from tercet.advisor.workload.literals import NAMES, STRINGS, WORDS

if TYPE_CHECKING:
    from tercet.sql import Statement

# Advice for the hundred heaviest is more than a person reads; they are nearly always more than 95 % of the time.
TOP = 100
# The statements behind this share of the time are each too light to matter.
SHARE = 0.99

# Fingerprints kept at once; the lightest half goes when there are more. A statement that matters comes again soon,
# and ten times as many as are reported leave room for the slow starters.
FINGERPRINTS_MAX = 5_000
# Texts kept for one fingerprint before the examples are chosen from them: four for each.
TEXTS_MAX = 4 * EXAMPLES_MAX
# All texts together, so that thousands of long statements do not fill the memory either.
CHARS_MAX = 64 << 20
# Forms of text whose fingerprint is remembered: parsing takes a hundred times as long as looking one up.
FORMS_MAX = 20_000
# Places in a program kept for one statement.
SITES_MAX = 8
# Statements told as skipped; of more of them nobody reads.
SKIPPED_MAX = 50
_SKIPPED_CHARS = 300
_LABEL_CHARS = 60

# Whatever may be a constant, and what must be passed over to find it.
_CONSTANTS = re.compile(
    rf"{NAMES}|{STRINGS}|{WORDS}|\$\d+|\d[\d.]*(?:[eE][+-]?\d+)?",
    re.DOTALL,
)
_SPACES = re.compile(r"\s+")


@dataclass(slots=True)
class _Count:
    """What was counted of one fingerprint by one kind of line."""

    calls: float = 0.0
    timed: float = 0.0
    ms: float = 0.0
    counted: float = 0.0
    rows: float = 0.0

    def add(self, one: Asked) -> None:
        self.calls += one.calls
        if one.ms is not None:
            self.timed += one.calls
            self.ms += one.ms
        if one.rows is not None:
            self.counted += one.calls
            self.rows += one.rows


@dataclass(slots=True)
class _Fold:
    """All that is kept of one fingerprint."""

    statement: Statement
    label: str = ""
    once: _Count = field(default_factory=_Count)
    twice: _Count = field(default_factory=_Count)
    # Each text with the milliseconds of one call, if known; every n-th of those that have come.
    texts: list[tuple[float | None, str]] = field(default_factory=list)
    every: int = 1
    sites: dict[str, None] = field(default_factory=dict)
    search_path: tuple[str, ...] = ()
    seen: int = 0

    @property
    def count(self) -> _Count:
        return self.once if self.once.calls >= self.twice.calls else self.twice

    @property
    def weight(self) -> tuple[float, float]:
        """By its time, then by its calls; what is lightest is let go."""
        return self.count.ms, self.count.calls


class Folding:
    """Takes statements one by one and gives a Workload; it forgets the lightest where there are too many."""

    def __init__(self) -> None:
        self._folds: dict[str, _Fold] = {}
        self._forms: dict[str, str | None] = {}
        self._chars = 0
        self._forgotten = 0
        self._forgotten_ms = 0.0
        self._skipped: dict[str, str] = {}
        self._reasons: Counter[str] = Counter()

    def add(self, one: Asked) -> bool:
        """Count one statement; what cannot be taken up is noted with its reason.

        False for one that nobody misses (BEGIN, SET, a question about the catalogue).
        """
        # A text with $1 in it comes again as it is; one with constants has to be looked at.
        form, known = one.sql, self._forms.get(one.sql, "")
        if known == "":
            form = _form(one.sql) if len(one.sql) <= STATEMENT_CHARS_MAX else one.sql[:_SKIPPED_CHARS]
            known = self._forms.get(form, "")
        if known is None:
            return False
        text, fold = "", self._folds.get(known)
        if fold is None:
            statement = self._read(one, form)
            if statement is None:
                return form not in self._forms
            text, fold = statement.text, self._fold(statement)
        (fold.twice if one.twice else fold.once).add(one)
        fold.label = fold.label or one.label
        fold.search_path = fold.search_path or one.search_path
        fold.sites.update(dict.fromkeys(one.sites[: SITES_MAX - len(fold.sites)]))
        self._keep(fold, one, text)
        return True

    def skip(self, sql: str, why: str) -> None:
        """Note that something was not taken up; the first of each reason is kept as an example."""
        if len(self._reasons) < SKIPPED_MAX or why in self._reasons:
            self._reasons[why] += 1
            self._skipped.setdefault(why, sql[:_SKIPPED_CHARS])

    def workload(
        self,
        source: str,
        *,
        top: int = TOP,
        share: float = SHARE,
        seconds: float | None = None,
        fingerprints: int | None = None,
        whole_ms: float | None = None,
    ) -> Workload:
        """The heaviest of what has come: so many at most, and no more than make up this share of all time."""
        folds = sorted(self._folds.values(), key=lambda fold: fold.weight, reverse=True)
        whole = whole_ms if whole_ms is not None else sum(fold.count.ms for fold in folds) + self._forgotten_ms
        kept, ms = [], 0.0
        for fold in folds[:top]:
            if share < 1.0 and whole and ms >= share * whole:
                break
            kept.append(fold)
            ms += fold.count.ms
        return Workload(
            tuple(_query(fold) for fold in kept),
            source,
            skipped=tuple(Skipped(self._skipped[why], _told(why, times)) for why, times in self._reasons.items()),
            seconds=seconds,
            fingerprints=fingerprints if fingerprints is not None else len(folds) + self._forgotten,
            share=min(1.0, ms / whole) if folds and whole else 1.0,
        )

    def _read(self, one: Asked, form: str) -> Statement | None:
        """The statement in a text that is not known by its form yet."""
        sql = one.text
        statement = meant(sql)
        if len(self._forms) >= FORMS_MAX:
            self._forms.clear()
        if isinstance(statement, str):
            if statement:
                self.skip(sql, statement)
            else:
                self._forms[form] = None
            return None
        if statement.text in sql:  # not one that EXPLAIN or another has carried
            self._forms[form] = statement.fingerprint
            if one.values:
                self._forms[one.sql] = statement.fingerprint
        return statement

    def _fold(self, statement: Statement) -> _Fold:
        fold = self._folds.get(statement.fingerprint)
        if fold is None:
            if len(self._folds) >= FINGERPRINTS_MAX or self._chars >= CHARS_MAX:
                self._forget()
            fold = self._folds[statement.fingerprint] = _Fold(statement)
            self._chars += len(statement.text)
        return fold

    def _keep(self, fold: _Fold, one: Asked, text: str) -> None:
        """Keep every n-th text; n doubles when there is no more room, so that they stay spread over the time."""
        fold.seen += 1
        if (fold.seen - 1) % fold.every:
            return
        text = text or one.text.strip().removesuffix(";")
        fold.texts.append((None if one.ms is None else one.ms / (one.calls or 1.0), text))
        self._chars += len(text)
        if len(fold.texts) > TEXTS_MAX:
            self._chars -= sum(len(text) for _, text in fold.texts[1::2])
            del fold.texts[1::2]
            fold.every *= 2

    def _forget(self) -> None:
        ordered = sorted(self._folds.items(), key=lambda item: item[1].weight)
        for fingerprint, fold in ordered[: (len(ordered) + 1) // 2]:
            self._forgotten += 1
            self._forgotten_ms += fold.count.ms
            self._chars -= len(fold.statement.text) + sum(len(text) for _, text in fold.texts)
            del self._folds[fingerprint]
        self._forms.clear()


def label_of(sql: str) -> str:
    """The first words of a statement, for a person who has given it no name."""
    text = _SPACES.sub(" ", sql).strip()
    return text if len(text) <= _LABEL_CHARS else text[: _LABEL_CHARS - 1].rpartition(" ")[0] + " …"


def _query(fold: _Fold) -> Query:
    count = fold.count
    return Query(
        fold.statement,
        _examples(fold.texts),
        calls=count.calls,
        ms=count.ms / count.timed if count.timed else None,
        rows=count.rows / count.counted if count.counted else None,
        label=fold.label or label_of(fold.statement.text),
        sites=tuple(fold.sites),
        search_path=fold.search_path,
    )


def _examples(texts: list[tuple[float | None, str]]) -> tuple[Example, ...]:
    """Up to eight texts from the quickest to the slowest, each standing for those of like time around it."""
    ordered = sorted(texts, key=lambda one: one[0] or 0.0)
    many = min(EXAMPLES_MAX, len(ordered))
    weights: dict[str, float] = {}
    for number in range(many):
        group = ordered[number * len(ordered) // many : (number + 1) * len(ordered) // many]
        middle = group[len(group) // 2][1]
        weights[middle] = weights.get(middle, 0.0) + len(group) / len(ordered)
    return tuple(Example(sql, weight) for sql, weight in weights.items())


def _form(sql: str) -> str:
    """The text with a mark for each constant and without comments: equal forms have equal fingerprints."""
    return _SPACES.sub(" ", _CONSTANTS.sub(_marked, sql))


def _marked(match: re.Match[str]) -> str:
    text = match.group()
    first = text[0]
    if text.startswith(("--", "/*")):
        return " "
    if first == '"' or ((first.isalpha() or first == "_") and not text.endswith("'")):
        return text
    return "?"


def _told(why: str, times: int) -> str:
    return why if times == 1 else f"{why} ({times:,} times)"
