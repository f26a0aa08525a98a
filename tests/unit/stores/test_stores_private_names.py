"""The few private names of drivers that tercet uses: these tests fail loudly when a driver changes them."""

from __future__ import annotations

import inspect

import redis.asyncio
import redis.asyncio.cluster
from asyncpg import connect_utils
from pymongo import AsyncMongoClient
from pymongo.asynchronous import client_session, collection, database
from redis.asyncio.connection import AbstractConnection
from sqlalchemy.pool import QueuePool


def test_every_operation_of_pymongo_passes_one_place() -> None:
    """Reads, writes and transactions end in _retry_internal, where errors become tercet's."""
    for name in ("_retryable_read", "_retry_with_session"):
        assert "self._retry_internal(" in inspect.getsource(getattr(AsyncMongoClient, name))
    assert "self._retry_with_session(" in inspect.getsource(AsyncMongoClient._retryable_write)
    assert "self._retryable_read(" in inspect.getsource(AsyncMongoClient._run_operation)
    assert "_retry_internal(" in inspect.getsource(client_session.AsyncClientSession)
    for module in (collection, database):
        assert "_conn_for_writes(" not in inspect.getsource(module)


def test_asyncpg_keeps_a_connections_time_limit_where_it_can_be_changed() -> None:
    """Connection._config is a named tuple with command_timeout, read again for each command."""
    assert "command_timeout" in connect_utils._ClientConfiguration._fields


def test_redis_py_says_a_pool_is_exhausted_in_known_words() -> None:
    """It has no class for it; and the end of a stream shows in a connection's reader."""
    assert '"No connection available."' in inspect.getsource(redis.asyncio.BlockingConnectionPool)
    assert "_reader" in AbstractConnection.__slots__


def test_sqlalchemys_pool_is_entered_at_one_place() -> None:
    """QueuePool._do_get waits, connects, and raises TimeoutError."""
    source = inspect.getsource(QueuePool._do_get)
    assert "TimeoutError" in source
    assert "_create_connection" in source


def test_redis_py_keeps_a_connections_streams_where_they_can_be_taken_over() -> None:
    """The wire takes the transport of a connection that redis-py has opened; its own end must not close it."""
    assert {"_reader", "_writer"} <= set(AbstractConnection.__slots__)
    assert 'getattr(self, "_writer", None)' in inspect.getsource(AbstractConnection.__del__)
    assert {"connection_class", "connection_kwargs"} <= set(vars(redis.asyncio.ConnectionPool(host="nowhere"))) | set(
        dir(redis.asyncio.ConnectionPool)
    )


def test_redis_py_knows_the_primary_of_each_slot_of_a_cluster() -> None:
    """The wire reads its table of slots, and makes connections as its nodes do."""
    names = {"slots_cache", "initialize", "nodes_cache"}
    assert names <= set(dir(redis.asyncio.cluster.NodesManager))
    assert {"connection_class", "connection_kwargs", "name"} <= set(dir(redis.asyncio.cluster.ClusterNode))
