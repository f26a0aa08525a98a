"""Orders as BSON documents, a block at a time: fixed bytes laid side by side, no object for each.

    {_id, user_id, created_at, status, country, currency, total, items: [{product_id, name, quantity, price}]}

`items` stands only where the order's lines are written. Numbers are little-endian, money is Decimal128.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop.assemble import Bytes, Ints, Piece, Texts, assemble, little_endian, texts
from tercet_shop.postgres_rows import CURRENCY

if TYPE_CHECKING:
    from tercet_shop.tables import Lines, Orders

# BSON's element types.
_DECIMAL = b"\x13"
_LONG, _INT, _DATE, _STRING, _DOCUMENT, _ARRAY = b"\x12", b"\x10", b"\x09", b"\x02", b"\x03", b"\x04"
_END = b"\0"

# Decimal128 is a whole number and a power of ten, biased by 6176; pence are hundredths.
_HUNDREDTHS = struct.pack("<Q", (6176 - 2) << 49)


def documents(orders: Orders, lines: Lines, names: Texts) -> tuple[bytes, Ints]:
    """The documents one after the other, and the length of each; `names` are the products' by their ids."""
    count = len(orders.id)
    order = np.searchsorted(orders.id, lines.order)
    items, item_lengths = _items(lines, names)
    lined = np.bincount(order, minlength=count) > 0
    inside = np.bincount(order, item_lengths, minlength=count).astype(np.int64)
    # int32 length, then _END of the array; the document's own _END follows.
    tail_lengths = np.where(lined, len(_END + _END), len(_END))
    array_head = _ARRAY + b"items\0"
    head_pieces = _head(orders)
    head_lengths = assemble(count, head_pieces)[1] + np.where(lined, len(array_head) + 4, 0)
    totals = head_lengths + inside + tail_lengths
    heads = assemble(
        count,
        [
            little_endian(totals, "i4"),
            *head_pieces[1:],
            _only(lined, np.tile(np.frombuffer(array_head, dtype=np.uint8), (count, 1))),
            _only(lined, little_endian(4 + inside + len(_END), "i4")),
        ],
    )[0]
    tails = np.zeros(int(tail_lengths.sum()), dtype=np.uint8)
    return _interleaved(heads, head_lengths, items, inside, tails, tail_lengths), totals


def _head(orders: Orders) -> list[Piece]:
    return [
        bytes(4),
        _LONG + b"_id\0",
        little_endian(orders.id, "i8"),
        _LONG + b"user_id\0",
        little_endian(orders.user, "i8"),
        _DATE + b"created_at\0",
        little_endian(orders.created * 1_000, "i8"),
        _STRING + b"status\0",
        little_endian(orders.status.lengths + 1, "i4"),
        orders.status,
        _END + _STRING + b"country\0" + struct.pack("<i", orders.country.shape[1] + 1),
        orders.country,
        _END + _STRING + b"currency\0" + struct.pack("<i", len(CURRENCY) + 1) + CURRENCY + _END,
        _DECIMAL + b"total\0",
        little_endian(orders.pence, "i8"),
        _HUNDREDTHS,
    ]


def _items(lines: Lines, names: Texts) -> tuple[Bytes, Ints]:
    """All elements of all arrays."""
    # Keys of arrays are their places, written out.
    places = texts(str(place) for place in range(int(lines.line.max(initial=0))))
    name = names[lines.product - 1]
    fixed = _LONG + b"product_id\0" + _STRING + b"name\0" + _INT + b"quantity\0" + _DECIMAL + b"price\0"
    # Values: 8 for the id, 4 and the text and its end for the name, 4 for the quantity, 16 for the price.
    inner = 4 + len(fixed) + 8 + 4 + name.lengths + 1 + 4 + 16 + len(_END)
    return assemble(
        len(lines.order),
        [
            _DOCUMENT,
            places[lines.line - 1],
            _END,
            little_endian(inner, "i4"),
            _LONG + b"product_id\0",
            little_endian(lines.product, "i8"),
            _STRING + b"name\0",
            little_endian(name.lengths + 1, "i4"),
            name,
            _END + _INT + b"quantity\0",
            little_endian(lines.quantity, "i4"),
            _DECIMAL + b"price\0",
            little_endian(lines.pence, "i8"),
            _HUNDREDTHS + _END,
        ],
    )


def _only(rows: np.ndarray[tuple[int], np.dtype[np.bool_]], matrix: Bytes) -> Texts:
    """The matrix in these rows, and nothing in the others."""
    return Texts(matrix, np.where(rows, matrix.shape[1], 0))


def _interleaved(heads: Bytes, head: Ints, items: Bytes, inside: Ints, tails: Bytes, tail: Ints) -> bytes:
    """A document's head, its items and its tail, document after document."""
    lengths = np.stack((head, inside, tail), axis=1).reshape(-1)
    kinds = np.repeat(np.tile(np.arange(3, dtype=np.uint8), len(head)), lengths)
    whole = np.empty(int(lengths.sum()), dtype=np.uint8)
    for kind, part in enumerate((heads, items, tails)):
        whole[kinds == kind] = part
    return whole.tobytes()
