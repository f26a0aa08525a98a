"""Which of the candidates are worth it: tried one by one on the sample, chosen together, and proved in pairs."""

from tercet.advisor.mongo.choice.choose import choose
from tercet.advisor.mongo.choice.draft import Draft, Form, Tried
from tercet.advisor.mongo.choice.proving import Proved, prove
from tercet.advisor.mongo.choice.trying import Trying, spread

__all__ = ["Draft", "Form", "Proved", "Tried", "Trying", "choose", "prove", "spread"]
