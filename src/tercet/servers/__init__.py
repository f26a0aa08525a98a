"""Real PostgreSQL, mongod and Redis on a machine that has nothing but Python."""

from tercet.servers.address import Addresses, ServerStatus
from tercet.servers.servers import Servers, down, status

__all__ = ["Addresses", "ServerStatus", "Servers", "down", "status"]
