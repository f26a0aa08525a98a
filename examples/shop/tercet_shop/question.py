"""The ladder's question: who has spent most, of the active users who signed up since a moment?"""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - msgspec reads the annotations

import msgspec

# As a person would write it. Users without an order count as having spent nothing, and a tie is decided by
# the id: without both, the hundred rows would not be the same on every rung, nor twice on this one.
AS_WRITTEN = """
select u.id as user_id, u.name, u.email, count(o.id) as order_count,
       coalesce(sum(o.total), 0) as total_spent
from users u
left join orders o on o.user_id = u.id
where u.status = 'active' and u.created_at >= :since
group by u.id, u.name, u.email
order by coalesce(sum(o.total), 0) desc, u.id
limit 100
"""


class Spender(msgspec.Struct, frozen=True):
    """One of the hundred."""

    user_id: int
    name: str
    email: str
    order_count: int
    total_spent: Decimal
