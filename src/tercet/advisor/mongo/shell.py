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
    match value:
        case None | True | False:
            text = {None: "null", True: "true", False: "false"}[value]
        case Mapping():
            text = "{" + ", ".join(f"{_key(str(key))}: {written(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            text = "[" + ", ".join(written(one) for one in value) + "]"
        case datetime():
            moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            text = f'ISODate("{moment.isoformat(timespec="milliseconds")}Z")'
        case str():
            text = json.dumps(value, ensure_ascii=False)
        case _:
            text = _special(value)
    return text


def _special(value: Any) -> str:
    """What has a type of its own in BSON."""
    name = type(value).__name__
    if name in {"int", "float"}:
        return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
    if name in {"Regex", "Pattern"}:
        flags = "".join(letter for flag, letter in _FLAGS if int(value.flags) & flag)
        return "/" + str(value.pattern).replace("/", "\\/") + f"/{flags}"
    if name == "Timestamp":
        return f"Timestamp({{t: {value.time}, i: {value.inc}}})"
    if name in {"bytes", "Binary"}:
        return f'HexData({getattr(value, "subtype", 0)}, "{bytes(value).hex()}")'
    if name in {"MinKey", "MaxKey"}:
        return f"{name}()"
    constructor = {"Int64": "Long", "ObjectId": "ObjectId", "Decimal128": "Decimal128", "UUID": "UUID"}.get(name, "")
    return f'{constructor}("{value}")' if constructor else json.dumps(str(value), ensure_ascii=False)


def place(collection: str) -> str:
    """The collection as an attribute of db, or by getCollection where its name is no word."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", collection) and collection.partition(".")[0] not in _OWN:
        return f"db.{collection}"
    return f"db.getCollection({json.dumps(collection, ensure_ascii=False)})"


def line(command: Command) -> str:
    """The command as one line of mongosh."""
    filter_ = written(command.filter)
    match command.kind:
        case "aggregate":
            text = f"aggregate({written(command.pipeline)})"
        case "count":
            text = f"countDocuments({filter_})"
        case "distinct":
            text = f"distinct({written(command.key)}, {filter_})"
        case "find":
            projection = "" if command.projection is None else f", {written(command.projection)}"
            text = f"find({filter_}{projection}){_chained(command)}"
        case "delete":
            text = f"deleteMany({filter_})"
        case "findAndModify":
            sort = f", sort: {written(dict(command.sort))}" if command.sort else ""
            text = f"findAndModify({{query: {filter_}{sort}, …}})"
        case "update":
            text = f"updateMany({filter_}, …)"
    return f"{place(command.collection)}.{text}"


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
