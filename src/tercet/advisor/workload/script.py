"""SQL as people keep it: files, folders and what is piped in, with comments that name a statement and its weight."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.advisor.workload.asked import Asked
from tercet.advisor.workload.folding import Folding
from tercet.errors import DocumentInvalid
from tercet.sql.tokens import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tercet.advisor.query import Skipped, Workload

# A file of statements that a person wants advice for is far smaller; a dump that was given by mistake is not.
FILE_BYTES_MAX = 64 << 20
FILES_MAX = 10_000
# What a person has written down is meant, also where it has no times; more of it is no selection any more.
GIVEN_TOP = 1_000
_ENDINGS = frozenset({".sql", ".pgsql", ".psql"})

# "-- name: orders of a day" or "-- calls: 100 ms: 12.5", alone or together on a line.
_HEADER = re.compile(r"\b(name|calls|ms)\s*:\s*(.*?)(?=\s+(?:name|calls|ms)\s*:|$)", re.IGNORECASE)
_NUMBER = re.compile(r"\d[\d_,]*(?:\.\d+)?")
# A command to psql: a line that begins with a backslash.
_META = re.compile(r"^[ \t]*\\[^\n]*", re.MULTILINE)
# One that sends the statement before it, as a semicolon does.
_SENDS = re.compile(r"(?<=\s)\\(?:g|gx|gexec|gset|watch|crosstabview)\b[^\n]*")
# What psql would send after COPY … FROM STDIN, up to the line that ends it.
_ANY = re.IGNORECASE | re.DOTALL | re.MULTILINE
_COPIED = re.compile(r"(\bcopy\b[^;]*\bfrom\s+stdin\b[^;]*;)[^\n]*\n.*?^\\\.[ \t]*$", _ANY)


def from_text(text: str, *, source: str = "stdin", top: int = GIVEN_TOP, share: float = 1.0) -> Workload:
    """The statements of a script. One that cannot be read is skipped with its reason, and the others are taken.

    Raises DocumentInvalid where none of them can be read.
    """
    folding = Folding()
    for one in _statements(text, ""):
        folding.add(one)
    workload = folding.workload(source, top=top, share=share)
    return _some(workload, ((source, text),)) if workload.skipped else workload


def from_files(paths: Iterable[str | Path], *, top: int = GIVEN_TOP, share: float = 1.0) -> Workload:
    """The statements of SQL files, and of those ending in .sql below folders, in the order of their names.

    Raises DocumentInvalid for a path that is not there, a folder without such files, and where none of them holds a
    statement that can be read.
    """
    given = [Path(path) for path in paths]
    folding = Folding()
    files = [file for path in given for file in _files(path)]
    for file in files:
        for one in _statements(_text(file), file.stem):
            folding.add(one)
    source = ", ".join(path.name or str(path) for path in given)
    texts = ((str(file), _text(file)) for file in files)
    return _some(folding.workload(source, top=top, share=share), texts)


def _some(workload: Workload, texts: Iterable[tuple[str, str]]) -> Workload:
    """The workload, if there is anything in it; else the file and the line of what could not be read."""
    if workload.queries:
        return workload
    what, mend = f"the workload {workload.source}", "Give statements that read or write tables, in PostgreSQL's SQL."
    if not workload.skipped:
        raise DocumentInvalid(what, reason="it holds no statement that reads or writes a table", mend=mend)
    first = workload.skipped[0]
    for name, text in texts:
        at = text.find(first.sql)
        if at >= 0:
            place = f"{name}, line {text.count(chr(10), 0, at) + 1}"
            raise DocumentInvalid(
                what, reason=f"none of its statements can be read; {place}: {_bare(first)}", mend=mend
            )
    raise DocumentInvalid(what, reason=f"none of its statements can be read: {_bare(first)}", mend=mend)


def _bare(skipped: Skipped) -> str:
    return skipped.why.rstrip(".")


def _files(path: Path) -> list[Path]:
    what = f"the workload {path}"
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DocumentInvalid(what, reason="there is no such file or folder", mend="Name a .sql file, or a folder.")
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _ENDINGS and file.is_file())
    if not found:
        mend = "Its statements should lie in files that end in .sql."
        raise DocumentInvalid(what, reason="the folder holds no such file", mend=mend)
    if len(found) > FILES_MAX:
        mend = "Name a folder with the statements that matter."
        raise DocumentInvalid(what, reason=f"it holds {len(found):,} files", mend=mend)
    return found


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            mend = "Give the statements that matter; a log is read with --log."
            raise DocumentInvalid(f"the workload {file}", reason="it is larger than 64 MB", mend=mend)
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        mend = "Name a file that can be read."
        raise DocumentInvalid(f"the workload {file}", reason=error.strerror or str(error), mend=mend) from error


def _statements(text: str, label: str) -> Iterator[Asked]:
    """Each statement of a script with what the comments before it say of it; `label` is for those without a name."""
    whole = list(_cut(_META.sub("", _SENDS.sub(";", _COPIED.sub(r"\1", text)))))
    for sql, told in whole:
        calls, ms = _number(told.get("calls")), _number(told.get("ms"))
        calls = 1.0 if calls is None else calls
        name = told.get("name") or (label if len(whole) == 1 else "")
        yield Asked(sql, calls, None if ms is None else ms * calls, label=name)


def _cut(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The statements between semicolons from their first word on, each with what the comments before it have said."""
    said: dict[str, str] = {}
    start: int | None = None
    at = 0
    for kind, token in tokens(text):
        at = text.index(token, at)
        if (kind, token) == ("mark", ";"):
            if start is not None:
                yield text[start:at].strip(), said
            start, said = None, {}
        elif kind != "comment":
            start = at if start is None else start
        elif start is None:
            said = said | _said(token)
        at += len(token)
    if start is not None:
        yield text[start:].strip(), said


def _said(comment: str) -> dict[str, str]:
    lines = comment.removeprefix("/*").removesuffix("*/").splitlines()
    return {key.lower(): value.strip() for line in lines for key, value in _HEADER.findall(line.strip(" -*")) if value}


def _number(text: str | None) -> float | None:
    match = _NUMBER.match(text) if text else None
    return float(match.group().replace(",", "").replace("_", "")) if match else None
