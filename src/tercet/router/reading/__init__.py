"""Reading entities: each store by one query, and what came of all of them put together."""
