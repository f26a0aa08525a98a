"""Documents and commands as a person types them into mongosh."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tercet.advisor.mongo.shape import Command, Document

_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
# What mongosh has as an attribute of db itself, and names that are no words, are asked for by getCollection.
_OWN = frozenset({"version", "stats", "help", "watch", "aggregate", "getName", "auth", "constructor", "runCommand"})
_FLAGS = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"), (re.VERBOSE, "x"))


def written(value: Any) -> str:
    """A value as mongosh reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))}: {written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(written(one) for one in value) + "]"
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return f'ISODate("{moment.isoformat(timespec="milliseconds")}Z")'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return _special(value)


def _special(value: Any) -> str:
    match type(value).__name__:
        case "Int64":
            return f'Long("{int(value)}")'
        case "int" | "float":
            return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
        case "ObjectId":
            return f'ObjectId("{value}")'
        case "Decimal128":
            return f'Decimal128("{value}")'
        case "UUID":
            return f'UUID("{value}")'
        case "Regex" | "Pattern":
            flags = "".join(letter for flag, letter in _FLAGS if int(value.flags) & flag)
            pattern = str(value.pattern).replace("/", "\\/")
            return f"/{pattern}/{flags}"
        case "MinKey" | "MaxKey" as name:
            return f"{name}()"
        case "Timestamp":
            return f"Timestamp({{t: {value.time}, i: {value.inc}}})"
        case "bytes" | "Binary":
            return f'HexData({getattr(value, "subtype", 0)}, "{bytes(value).hex()}")'
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def place(collection: str) -> str:
    """The collection as an attribute of db, or by getCollection where its name is no word."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", collection) and collection.split(".")[0] not in _OWN:
        return f"db.{collection}"
    return f"db.getCollection({json.dumps(collection, ensure_ascii=False)})"


def line(command: Command) -> str:
    """The command as one line of mongosh."""
    where, filter_ = place(command.collection), written(command.filter)
    match command.kind:
        case "aggregate":
            return f"{where}.aggregate({written(command.pipeline)})"
        case "count":
            return f"{where}.countDocuments({filter_})"
        case "distinct":
            return f"{where}.distinct({written(command.key)}, {filter_})"
        case "find":
            projection = "" if command.projection is None else f", {written(command.projection)}"
            return f"{where}.find({filter_}{projection}){_chained(command)}"
        case "delete":
            return f"{where}.deleteMany({filter_})"
        case "findAndModify":
            sort = f", sort: {written(dict(command.sort))}" if command.sort else ""
            return f"{where}.findAndModify({{query: {filter_}{sort}, …}})"
        case _:
            return f"{where}.updateMany({filter_}, …)"


def create(collection: str, keys: Document, options: Document) -> str:
    """The line that makes an index."""
    rest = f", {written(options)}" if options else ""
    return f"{place(collection)}.createIndex({written(keys)}{rest})"


def drop(collection: str, name: str) -> str:
    """The line that takes an index away."""
    return f"{place(collection)}.dropIndex({written(name)})"


def _chained(command: Command) -> str:
    text = f".sort({written(dict(command.sort))})" if command.sort else ""
    text += f".skip({command.skip})" if command.skip else ""
    return text + (f".limit({command.limit})" if command.limit else "")


def _key(key: str) -> str:
    return key if _WORD.fullmatch(key) else json.dumps(key, ensure_ascii=False)
