"""Claims proved by running: before against after, statement by statement; what does not hold is withdrawn."""

from tercet.advisor.verify.change import Bounds, Change, Drop, Held, Measured, Trial, Verdicts, Verified
from tercet.advisor.verify.port import Live, Place
from tercet.advisor.verify.verify import verify

__all__ = ["Bounds", "Change", "Drop", "Held", "Live", "Measured", "Place", "Trial", "Verdicts", "Verified", "verify"]
