"""Feeds for servers without a replication connection, or without logical decoding: the same changes, a little later."""
