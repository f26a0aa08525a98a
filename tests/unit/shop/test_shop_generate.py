"""The generated shop: the same from the same seed, and true to what it says of itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet_shop.assemble import Texts
from tercet_shop.calendar import BEGIN, END
from tercet_shop.errors import SizeImpossible
from tercet_shop.generate import GeneratedShop
from tercet_shop.plan import SHARE_WITHOUT_ORDERS, ShopSize
from tercet_shop.postgres_rows import line_rows, order_rows, user_rows
from tercet_shop.tables import BLOCK, blocks, spelled

# Three blocks of orders, two of users.
SIZE = ShopSize(users=20_000, orders=45_000, lined_orders=2_000)


@pytest.fixture(scope="module")
def shop() -> GeneratedShop:
    """A shop of a few blocks."""
    return GeneratedShop(SIZE, seed=7)


def _column(shop: GeneratedShop, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.concatenate([getattr(shop.orders(block), name) for block in blocks(SIZE.orders)])


def test_the_same_seed_gives_the_same_bytes_block_by_block_in_any_order(shop: GeneratedShop) -> None:
    """A block can be made alone, last or twice: its bytes depend on seed and size only."""
    other = GeneratedShop(SIZE, seed=7)
    for block in reversed(blocks(SIZE.orders)):
        assert order_rows(other.orders(block)) == order_rows(shop.orders(block))
        assert line_rows(other.lines(block)) == line_rows(shop.lines(block))
    assert user_rows(other.users(1)) == user_rows(shop.users(1))


def test_another_seed_gives_another_shop(shop: GeneratedShop) -> None:
    """The seed reaches the users, the orders and the lines."""
    other = GeneratedShop(SIZE, seed=8)
    last = blocks(SIZE.orders)[-1]
    assert user_rows(other.users(0)) != user_rows(shop.users(0))
    assert order_rows(other.orders(0)) != order_rows(shop.orders(0))
    assert line_rows(other.lines(last)) != line_rows(shop.lines(last))


def test_orders_without_lines_are_the_same_whether_others_have_theirs(shop: GeneratedShop) -> None:
    """How many orders have lines changes nothing in the orders that have none either way."""
    bare = GeneratedShop(ShopSize(SIZE.users, SIZE.orders, 0), seed=7)
    assert order_rows(bare.orders(0)) == order_rows(shop.orders(0))


def test_an_order_is_worth_what_its_lines_add_up_to(shop: GeneratedShop) -> None:
    """To the penny, for each of the newest orders; the others have no lines."""
    pence = _column(shop, "pence")
    added = np.zeros(SIZE.orders + 1, dtype=np.int64)
    for block in blocks(SIZE.orders):
        lines = shop.lines(block)
        np.add.at(added, lines.order, lines.quantity * lines.pence)
    lined = SIZE.orders - SIZE.lined_orders
    assert (added[1:][lined:] == pence[lined:]).all()
    assert not added[1:][:lined].any()
    assert (pence > 0).all()


def test_lines_are_numbered_from_one_and_name_a_product_once(shop: GeneratedShop) -> None:
    """Within an order the numbers have no gap, and no product stands twice."""
    lines = shop.lines(blocks(SIZE.orders)[-1])
    begins = np.flatnonzero(np.diff(lines.order, prepend=-1))
    assert (lines.line[begins] == 1).all()
    assert (np.diff(lines.line)[np.diff(lines.order) == 0] == 1).all()
    assert len(np.unique(lines.order * 10_000 + lines.product)) == len(lines.order)
    assert (lines.quantity > 0).all()


def test_nobody_orders_before_signing_up_or_after_the_end(shop: GeneratedShop) -> None:
    """Moments of orders rise with their ids, and lie between their user's signup and the shop's end."""
    signups = np.concatenate([shop.users(block).created for block in blocks(SIZE.users)])
    created, user = _column(shop, "created"), _column(shop, "user")
    assert (np.diff(created) >= 0).all()
    assert (np.diff(signups) >= 0).all()
    assert (created >= signups[user - 1]).all()
    assert (signups.min() >= BEGIN, created.max() < END) == (True, True)


def test_a_few_users_never_order_and_a_few_order_very_often(shop: GeneratedShop) -> None:
    """The counts add up to the orders; 3 % have none, most have few, the busiest dozens of times the mean."""
    counts = np.bincount(_column(shop, "user") - 1, minlength=SIZE.users)
    assert counts.sum() == SIZE.orders
    assert (counts == 0).mean() == pytest.approx(SHARE_WITHOUT_ORDERS, abs=0.01)
    assert np.median(counts) <= 2
    assert counts.max() > 30 * counts.mean()


def test_every_user_has_an_address_of_their_own_in_a_reserved_domain(shop: GeneratedShop) -> None:
    """No two emails are alike, even with their letters' case ignored, and none can reach a person."""
    users = [shop.users(block) for block in blocks(SIZE.users)]
    emails = [email for each in users for email in spelled(len(each.id), each.email)]
    assert len({email.lower() for email in emails}) == SIZE.users
    assert {email.rpartition("@")[2].rpartition(".")[2] for email in emails} <= {
        "com",
        "org",
        "net",
        "example",
    }
    assert all(email.isascii() and "@" in email[1:] for email in emails)


def test_users_are_active_inactive_and_pending_by_their_shares(shop: GeneratedShop) -> None:
    """45, 35 and 20 of a hundred."""
    status: list[str] = []
    for block in blocks(SIZE.users):
        held = shop.users(block).status
        assert isinstance(held, Texts)
        status += held.strings()
    shares = {name: status.count(name) / len(status) for name in ("active", "inactive", "pending")}
    assert shares == pytest.approx({"active": 0.45, "inactive": 0.35, "pending": 0.20}, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(0, 3_000), st.integers(0, 2**63))
def test_a_shop_of_any_size_has_exactly_its_orders(users: int, orders: int, seed: int) -> None:
    """One user with thousands of orders, hundreds with none: the numbers asked for are the numbers made."""
    shop = GeneratedShop(ShopSize(users, orders, 10), seed)
    made = [shop.orders(block) for block in blocks(orders)]
    assert sum(len(each.id) for each in made) == orders
    assert sum(len(shop.users(block).id) for block in blocks(users)) == users
    assert all(((each.user >= 1) & (each.user <= users)).all() for each in made)


@pytest.mark.parametrize(
    ("users", "orders", "lined"),
    [(0, 5, 0), (-1, 0, 0), (2**32, 0, 0), (1, -1, 0), (1, 10**9, 0), (1, 1, -1)],
)
def test_a_size_that_cannot_be_made_is_refused_with_the_reason(users: int, orders: int, lined: int) -> None:
    """Nothing is drawn for it."""
    with pytest.raises(SizeImpossible, match="cannot be made"):
        ShopSize(users, orders, lined)


def test_a_block_holds_no_more_rows_than_it_says(shop: GeneratedShop) -> None:
    """The first is full, the last has the rest."""
    assert [len(shop.orders(block).id) for block in blocks(SIZE.orders)] == [
        BLOCK,
        BLOCK,
        SIZE.orders - 2 * BLOCK,
    ]
