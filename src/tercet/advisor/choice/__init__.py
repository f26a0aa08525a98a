"""Which indexes to take: calibrated time, the price of writing, a budget of real bytes, and what would not last."""

from tercet.advisor.choice.choice import choose
from tercet.advisor.choice.chosen import Choice, Dropped, Outlook, Picked, WriteCost
from tercet.advisor.choice.fragility import Tunable
from tercet.advisor.choice.observation import Observation
from tercet.advisor.choice.timing.speeds import Speeds

__all__ = [
    "Choice",
    "Dropped",
    "Observation",
    "Outlook",
    "Picked",
    "Speeds",
    "Tunable",
    "WriteCost",
    "choose",
]
