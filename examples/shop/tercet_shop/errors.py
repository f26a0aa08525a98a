"""What the shop itself says no to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.errors import Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class FileUnfit(UsageError):
    """An order file that cannot be read as one; `reason` says what is wrong with it."""

    def __init__(self, path: str, *, reason: str, mend: str = "") -> None:
        wanted = "Wanted is a Parquet or CSV file with one line of an invoice a row."
        super().__init__(f"{path} cannot be used as an order file: {reason}.", mend or wanted)
        self.path, self.reason = path, reason


class SizeImpossible(UsageError):
    """A shop of this size cannot be made."""

    def __init__(self, *, users: int, orders: int, reason: str) -> None:
        super().__init__(
            f"A shop of {users:,} users and {orders:,} orders cannot be made: {reason}.",
            "Choose other numbers.",
        )
        self.users, self.orders, self.reason = users, orders, reason


class NotTheShops(UsageError):
    """What stands at the shop's place is somebody else's; nothing was touched."""

    def __init__(self, store: str, *, names: tuple[str, ...]) -> None:
        super().__init__(
            f"This {store} database has {', '.join(names)} already, and they are not the reference shop's.",
            "Nothing was touched: give the shop a database of its own.",
        )
        self.store, self.names = store, names


class UserMissing(UsageError):
    """No user has this id."""

    def __init__(self, user_id: int) -> None:
        super().__init__(f"No user has the id {user_id}.", "Nothing was changed.")
        self.user_id = user_id


class StatusUnknown(UsageError):
    """A list was asked for that there is not."""

    def __init__(self, status: str, *, known: tuple[str, ...]) -> None:
        super().__init__(f"{status!r} is no status of a user.", f"It should be one of {', '.join(known)}.")
        self.status, self.known = status, known


class BasketUnfit(UsageError):
    """An order of this cannot be made; `reason` says why not."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This basket cannot be ordered: {reason}.", "Nothing was changed.")
        self.reason = reason


class ProductsUnknown(UsageError):
    """There are no such products."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        super().__init__(f"No product has the id {', '.join(map(str, ids))}.", "Nothing was changed.")
        self.ids = ids


class StockShort(Refused):
    """There is less of these products than was wanted; `left` is what there is."""

    def __init__(self, left: Mapping[int, int]) -> None:
        super().__init__(
            f"Too little is left: {', '.join(f'{count} of product {name}' for name, count in left.items())}.",
            "Nothing was changed; order less.",
        )
        self.left = dict(left)
