"""Names and keys of a statement are looked up by PostgreSQL's rules, block by block."""
