"""Documents put together without a driver, read back by one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import bson
import numpy as np
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from tercet_shop.assemble import texts
from tercet_shop.bson_rows import documents
from tercet_shop.tables import Lines, Orders

NAMES = ("Tea", "Ångström's rule", "", "雪")
STATUSES = ("paid", "completed")

_line = st.tuples(st.integers(1, 2**31 - 1), st.integers(1, len(NAMES)), st.integers(0, 10**12 - 1))
_order = st.tuples(
    st.integers(1, 2**62),
    st.integers(0, 4_102_444_800),
    st.integers(0, 10**12 - 1),
    st.integers(0, 1),
    st.lists(_line, max_size=12),
)


def _money(pence: int) -> Decimal128:
    return Decimal128(Decimal(pence).scaleb(-2))


@given(st.lists(_order, min_size=1, max_size=20))
def test_documents_are_what_a_driver_would_have_written(
    drawn: list[tuple[int, int, int, int, list[tuple[int, int, int]]]],
) -> None:
    """A driver reads the bytes as the same documents, and would write the same bytes for them."""
    user, created, pence, status, items = zip(*drawn, strict=True)
    numbers = np.arange(1, len(drawn) + 1)
    orders = Orders(
        id=numbers,
        user=np.array(user),
        created=np.array(created),
        updated=np.array(created),
        pence=np.array(pence),
        status=texts(STATUSES)[np.array(status)],
        country=texts(["GB"] * len(drawn)).matrix,
    )
    flat = [
        (order, place, *item) for order, held in enumerate(items, 1) for place, item in enumerate(held, 1)
    ]
    columns = np.array(flat, dtype=np.int64).reshape(-1, 5).T
    lines = Lines(
        order=columns[0], line=columns[1], quantity=columns[2], product=columns[3], pence=columns[4]
    )

    written, lengths = documents(orders, lines, texts(NAMES))

    expected = []
    for number, (who, when, total, state, held) in enumerate(drawn, 1):
        document = {
            "_id": bson.Int64(number),
            "user_id": bson.Int64(who),
            "created_at": datetime.fromtimestamp(when, UTC),
            "status": STATUSES[state],
            "country": "GB",
            "currency": "GBP",
            "total": _money(total),
        }
        if held:
            document["items"] = [
                {
                    "product_id": bson.Int64(product),
                    "name": NAMES[product - 1],
                    "quantity": quantity,
                    "price": _money(price),
                }
                for quantity, product, price in held
            ]
        expected.append(document)
    assert bson.decode_all(written, CodecOptions(tz_aware=True, tzinfo=UTC)) == expected
    assert written == b"".join(bson.encode(document) for document in expected)
    assert lengths.tolist() == [len(bson.encode(document)) for document in expected]
