"""What PostgreSQL needs for a feed: what is there, what is missing, and the DDL that mends it."""
