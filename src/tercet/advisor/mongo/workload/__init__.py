"""What is asked of a MongoDB database: given, counted by the server, or read from its log."""

from tercet.advisor.mongo.workload.folding import fold
from tercet.advisor.mongo.workload.mongo_counted import from_server
from tercet.advisor.mongo.workload.mongo_given import from_files, from_specs
from tercet.advisor.mongo.workload.mongo_log import from_log

__all__ = ["fold", "from_files", "from_log", "from_server", "from_specs"]
