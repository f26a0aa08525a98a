"""The reference shop: a small house of its own, built on what tercet shows to everybody.

Its names are loaded when they are first touched; whoever lacks numpy or pyarrow is told which extra brings
them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tercet.errors import ExtraMissing

if TYPE_CHECKING:
    from tercet_shop.load import Shop as Shop
    from tercet_shop.load import prepare as prepare
    from tercet_shop.loaded import Loaded as Loaded
    from tercet_shop.models import create_schema as create_schema
    from tercet_shop.models import drop_schema as drop_schema
    from tercet_shop.question import AS_WRITTEN as AS_WRITTEN
    from tercet_shop.question import Spender as Spender
    from tercet_shop.retail import Cleaned as Cleaned
    from tercet_shop.retail_shop import FileShop as FileShop
    from tercet_shop.retail_shop import prepare_from_file as prepare_from_file

_HOMES = {
    "AS_WRITTEN": "question",
    "Cleaned": "retail",
    "FileShop": "retail_shop",
    "Loaded": "loaded",
    "Shop": "load",
    "Spender": "question",
    "create_schema": "models",
    "drop_schema": "models",
    "prepare": "load",
    "prepare_from_file": "retail_shop",
}

__all__ = [
    "AS_WRITTEN",
    "Cleaned",
    "FileShop",
    "Loaded",
    "Shop",
    "Spender",
    "create_schema",
    "drop_schema",
    "prepare",
    "prepare_from_file",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tercet_shop' has no attribute {name!r}")
    try:
        home = import_module(f"tercet_shop.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        raise ExtraMissing("The reference shop", module=error.name or "?", extra="demo") from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
