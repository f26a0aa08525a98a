"""The rungs of the ladder, declared: the indexes, the rewrite, the view and the summary of one question."""

from __future__ import annotations

from tercet.rollups import Summary
from tercet.sql import Index, View

# Rung 1. The partial index finds the active users of a period without touching the table, and the covering one
# holds all that is asked of their orders.
ACTIVE_USERS = Index(
    "ix_users_active_created_at", "users", columns=("created_at",), include=("id",), where="status = 'active'"
)
ORDERS_OF_A_USER = Index("ix_orders_user_id_total", "orders", columns=("user_id",), include=("total",))

# Names are fetched for the hundred that are left, not for everybody; and count(*) over the lateral's own rows asks
# for no column that the index does not have, where count(o.id) would send each of them to the table.
REWRITTEN = """
select u.id as user_id, u.name, u.email, top.order_count, top.total_spent
from (
    select u.id, s.order_count, s.total_spent
    from users u
    cross join lateral (
        select count(*) as order_count, coalesce(sum(o.total), 0) as total_spent
        from orders o
        where o.user_id = u.id
    ) s
    where u.status = 'active' and u.created_at >= :since
    order by s.total_spent desc, u.id
    limit 100
) top
join users u on u.id = top.id
order by top.total_spent desc, u.id
"""

# Rung 2. created_at stays in the view, so that it answers for any period and not only for this one.
SPENDERS = View(
    "active_spenders",
    """
    select u.id as user_id, u.created_at, count(o.user_id) as order_count, coalesce(sum(o.total), 0) as total_spent
    from users u
    left join orders o on o.user_id = u.id
    where u.status = 'active'
    group by u.id
    """,
    key=("user_id",),
    indexes=(
        Index(
            "ix_active_spenders_total",
            "active_spenders",
            columns=("total_spent desc", "user_id"),
            include=("created_at", "order_count"),
        ),
    ),
)
FROM_VIEW = """
select u.id as user_id, u.name, u.email, top.order_count, top.total_spent
from (
    select user_id, order_count, total_spent
    from active_spenders
    where created_at >= :since
    order by total_spent desc, user_id
    limit 100
) top
join users u on u.id = top.user_id
order by top.total_spent desc, u.id
"""

# Rung 2, the other way: kept by the writers, so that it is never behind. It counts for everybody, active or not,
# for a user's status may change and the sums do not.
TOTALS = Summary(
    "user_totals",
    parent="users",
    child="orders",
    child_key="user_id",
    count="order_count",
    sums={"total_spent": "total"},
    indexes=(
        Index(
            "ix_user_totals_total_spent",
            "user_totals",
            columns=("total_spent desc", "user_id"),
            include=("order_count",),
        ),
    ),
)
FROM_TOTALS = """
select u.id as user_id, u.name, u.email, t.order_count, t.total_spent
from user_totals t
join users u on u.id = t.user_id
where u.status = 'active' and u.created_at >= :since
order by t.total_spent desc, t.user_id
limit 100
"""
