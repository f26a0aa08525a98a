"""A mongod of our own with a sample of the collections: indexes are really built there, commands really run."""

from tercet.advisor.mongo.trial.mongo_copy import Copied, copy
from tercet.advisor.mongo.trial.mongo_desk import Cost, Desk
from tercet.advisor.mongo.trial.mongo_server import Throwaway

__all__ = ["Copied", "Cost", "Desk", "Throwaway", "copy"]
