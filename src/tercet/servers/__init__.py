"""Real PostgreSQL, mongod and Redis on a machine that has nothing but Python."""

from tercet.servers.address import STORES, Addresses, ServerStatus
from tercet.servers.servers import Servers, down, status

__all__ = ["STORES", "Addresses", "ServerStatus", "Servers", "down", "status"]
