"""The advisor's MongoDB twin: what is asked, tried on a sample in a mongod of our own, and told in the same values."""

from tercet.advisor.mongo.index import MongoIndex
from tercet.advisor.mongo.mongo_advisor import advise_mongo
from tercet.advisor.mongo.mongo_apply import Applied, apply, undo
from tercet.advisor.mongo.shape import Command, MongoWorkload, Query
from tercet.advisor.mongo.workload import from_files, from_log, from_server, from_specs

__all__ = [
    "Applied",
    "Command",
    "MongoIndex",
    "MongoWorkload",
    "Query",
    "advise_mongo",
    "apply",
    "from_files",
    "from_log",
    "from_server",
    "from_specs",
    "undo",
]
