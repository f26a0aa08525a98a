"""What of each table comes along into a copy."""

from __future__ import annotations

from tercet.advisor.catalog import Catalog, ForeignKey, Qualified, Table
from tercet.advisor.sandbox.meter import Meter
from tercet.advisor.sandbox.part import Part, links_of, parts

MB = 1 << 20


def _table(name: str, megabytes: int, *keys: ForeignKey) -> tuple[Qualified, Table]:
    qualified = ("public", name)
    pages = megabytes * MB // 8192
    return qualified, Table(qualified, rows=pages * 50.0, pages=pages, size_bytes=megabytes * MB, foreign_keys=keys)


def _key(column: str, target: str) -> ForeignKey:
    return ForeignKey(f"{column}_fk", (column,), ("public", target), ("id",))


def _parts(*tables: tuple[Qualified, Table], room: int) -> dict[str, Part]:
    catalog = Catalog(tables=dict(tables))
    names = [name for name, _ in tables]
    return {part.table[1]: part for part in parts(catalog, names, links_of(catalog, names), room * MB)}


SHOP = (
    _table("lines", 800, _key("order_id", "orders"), _key("product_id", "products")),
    _table("orders", 200, _key("user_id", "users")),
    _table("users", 100),
    _table("products", 90),
    _table("countries", 1),
)


def test_what_fits_comes_whole() -> None:
    """Nothing is left out where there is room."""
    assert all(part.whole for part in _parts(*SHOP, room=2_000).values())


def test_children_follow_their_parents() -> None:
    """Pages of users, their orders, the lines of these; small tables whole, and parents before children."""
    found = _parts(*SHOP, room=120)
    assert found["countries"].whole
    assert found["users"].clause.startswith("tablesample system (")
    assert found["orders"].clause.startswith(
        'where ("user_id") in (select "id" from "public"."users" tablesample system'
    )
    assert 'from "public"."orders" where ("user_id") in' in found["lines"].clause
    names = list(found)
    assert names.index("users") < names.index("orders") < names.index("lines")
    assert sum(one.share * size for one, size in zip(
        (found["lines"], found["orders"], found["users"], found["products"]), (800, 200, 100, 90), strict=True
    )) <= 120  # fmt: skip


def test_what_is_joined_without_a_key_follows_too() -> None:
    """A join that no foreign key declares is told by who knows the statements; one to elsewhere is left out."""
    catalog = Catalog(tables=dict((_table("lines", 500), _table("orders", 400))))
    names = list(catalog.tables)
    joins = [(names[0], _key("order_id", "orders")), (names[0], _key("product_id", "products"))]
    found = {part.table[1]: part for part in parts(catalog, names, links_of(catalog, names, joins), 100 * MB)}
    assert found["orders"].clause.startswith("tablesample")
    assert found["lines"].clause.startswith('where ("order_id") in (select "id" from "public"."orders"')


def test_tables_that_refer_to_each_other_are_cut_somewhere() -> None:
    """A ring has no parent to begin with; the largest is taken for one."""
    ring = (
        _table("a", 500, _key("b_id", "b")),
        _table("b", 400, _key("a_id", "a")),
        _table("c", 300, _key("c_id", "c")),
    )
    found = _parts(*ring, room=100)
    assert found["a"].clause.startswith("tablesample")
    assert found["b"].clause.startswith("where")
    assert found["c"].clause.startswith("tablesample")


def test_of_few_pages_single_rows_are_drawn() -> None:
    """A sample of three pages would be a sample of three places."""
    assert _parts(_table("big", 1_000), _table("wide", 60), room=40)["wide"].clause.startswith("tablesample bernoulli")


async def test_a_copy_waits_where_rows_come_faster_than_was_allowed() -> None:
    """After 10 bytes at 5 a second, two seconds have passed."""
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    told: list[tuple[str, int, int]] = []
    meter = Meter(5.0, total=8, on_progress=lambda *words: told.append(words), monotonic=lambda: now[0], sleep=sleep)
    await meter.count(4, "copying t")
    await meter.count(6, "copying t")
    assert meter.seconds == 2.0
    assert meter.bytes == 10
    assert told == [("copying t", 4, 8), ("copying t", 8, 8)]
