"""PostgreSQL's changes as they come: pgoutput over a replication connection, and the slot that remembers."""
