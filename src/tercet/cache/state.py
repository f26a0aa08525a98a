"""The state machine of an entry: what it is good for at a moment, and what a caller is given meanwhile."""

from __future__ import annotations

import math
import random
from enum import Enum

# The smallest draw: the logarithm of nothing has no end.
_DRAW_MIN = 1e-12

# No draw is earlier than so many times of what a load takes.
EARLY_MOST = -math.log(_DRAW_MIN)


class State(Enum):
    """What an entry is good for.

    FRESH answers. DUE answers, and one caller loads it anew before it ends. STALE has ended: it answers while
    it is loaded anew, and when that fails. SPENT answers nobody.
    """

    FRESH = "fresh"
    DUE = "due"
    STALE = "stale"
    SPENT = "spent"


def state(*, left: float, grace: float, early: float = 0.0) -> State:
    """The state of an entry with `left` seconds of freshness (negative: since when it has none).

    `grace` is how long it may be shown after that, `early` how long before it is due; all in seconds.
    """
    if left > 0.0:
        return State.DUE if early >= left else State.FRESH
    return State.STALE if -left < grace else State.SPENT


def early(load_seconds: float, beta: float, draw: float) -> float:
    """Seconds before its end at which this draw finds an entry due.

    XFetch (Vattani, Chierichetti, Lowenstein, VLDB 2015): loads that take long begin early, and hardly ever
    two at once. `draw` is a random number from 0 up to 1; `beta` above 1 begins earlier, 0 never does.
    """
    return -beta * load_seconds * math.log(max(draw, _DRAW_MIN))


def draw() -> float:
    """A random number from 0 up to 1: it spreads expiries, and guards nothing."""
    return random.random()  # noqa: S311 - see above
