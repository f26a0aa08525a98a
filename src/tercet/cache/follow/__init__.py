"""Following: what is committed drops the tags that it has made old, by shapes that are declared once."""

from tercet.cache.follow.following import Following, FollowingStatus
from tercet.cache.follow.port import Changes, Covers, Followed, Sees, Subscription
from tercet.cache.follow.shapes import Shapes

__all__ = ["Changes", "Covers", "Followed", "Following", "FollowingStatus", "Sees", "Shapes", "Subscription"]
